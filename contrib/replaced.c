// What routers' binaries have in place of larger parts of the C runtime, which nothing here has a use for.

// The unwinder that std asks for. A panic ends the process, so no stack is ever unwound and none is traced; zig's would
// be 44 KB on MIPS.

void abort(void);

// 5 says that the stack has ended.
int _Unwind_Backtrace(void *visit, void *argument) {
    (void)visit;
    (void)argument;
    return 5;
}

#define NEVER(name) void name(void) { abort(); }
NEVER(_Unwind_GetDataRelBase)
NEVER(_Unwind_GetIP)
NEVER(_Unwind_GetIPInfo)
NEVER(_Unwind_GetLanguageSpecificData)
NEVER(_Unwind_GetRegionStart)
NEVER(_Unwind_GetTextRelBase)
NEVER(_Unwind_SetGR)
NEVER(_Unwind_SetIP)

// 32-bit ARM has names of its own for the same.
#ifdef __arm__
NEVER(_Unwind_VRS_Get)
NEVER(_Unwind_VRS_Set)
NEVER(__gnu_unwind_frame)
NEVER(__aeabi_unwind_cpp_pr0)
NEVER(__aeabi_unwind_cpp_pr1)
NEVER(__aeabi_unwind_cpp_pr2)
#endif

// std names each thread from within. musl's function names others, too, by a path in /proc that it prints; nothing else
// here needs printf: 11 KB on MIPS.
int prctl(int option, ...);

int pthread_setname_np(void *thread, const char *name) {
    (void)thread;
    const int set_name = 15;
    return prctl(set_name, (unsigned long)name, 0UL, 0UL, 0UL);
}
