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

// Copies and comparisons, most of them of less than 50 bytes. zig's compare byte by byte, and copy 4 bytes in 7 instructions on
// MIPS. Words are read and written wherever they start, so these are for machines that can do that; MIPS has two instructions
// for it. docs/performance.md has the gain, tests/cross/replaced.c holds them against simple loops.
#if defined(__mips__) || defined(__ARM_FEATURE_UNALIGNED) || defined(__x86_64__) || defined(__i386__)

typedef unsigned long word;
typedef unsigned long size_t;
typedef unsigned char byte;
enum { WORD = sizeof(word) };

struct __attribute__((packed, may_alias)) anywhere {
    word word;
};

static inline word load(const byte *from) {
    return ((const struct anywhere *)from)->word;
}

static inline void store(byte *to, word value) {
    ((struct anywhere *)to)->word = value;
}

// 0 where both are the same.
int bcmp(const void *left, const void *right, size_t count) {
    const byte *a = left, *b = right;
    if (count < WORD) {
        for (; count != 0; count--) {
            if (*a++ != *b++) return 1;
        }
        return 0;
    }
    const byte *last = a + count - WORD, *other_last = b + count - WORD;
    for (; a < last; a += WORD, b += WORD) {
        if (load(a) != load(b)) return 1;
    }
    return load(last) != load(other_last);
}

// On the others zig's memcpy and memmove use vectors, and are better.
#if defined(__mips__) || defined(__arm__)

static inline void copy_word(byte *to, const byte *from) {
    store(to, load(from));
}

static inline void copy_four_words(byte *to, const byte *from) {
    word a = load(from), b = load(from + WORD), c = load(from + 2 * WORD), d = load(from + 3 * WORD);
    store(to, a), store(to + WORD, b), store(to + 2 * WORD, c), store(to + 3 * WORD, d);
}

// The end is copied together with some of what is before it, which is then copied twice.
void *memcpy(void *start, const void *source, size_t count) {
    byte *to = start, *end = to + count;
    const byte *from = source, *from_end = from + count;
    if (count >= 4 * WORD) {
        for (; end - to > 4 * WORD; to += 4 * WORD, from += 4 * WORD) copy_four_words(to, from);
        copy_four_words(end - 4 * WORD, from_end - 4 * WORD);
    } else if (count >= WORD) {
        copy_word(to, from);
        if (count > 2 * WORD) {
            copy_word(to + WORD, from + WORD);
            copy_word(end - 2 * WORD, from_end - 2 * WORD);
        }
        copy_word(end - WORD, from_end - WORD);
    } else {
        while (to < end) *to++ = *from++;
    }
    return start;
}

void *memmove(void *start, const void *source, size_t count) {
    byte *to = start;
    const byte *from = source;
    if ((word)to - (word)from >= count) {
        // Forwards: what is written has been read.
        for (; count >= WORD; count -= WORD, to += WORD, from += WORD) copy_word(to, from);
        for (; count != 0; count--) *to++ = *from++;
    } else {
        for (; count >= WORD; count -= WORD) copy_word(to + count - WORD, from + count - WORD);
        for (; count != 0; count--) to[count - 1] = from[count - 1];
    }
    return start;
}

#endif
#endif
