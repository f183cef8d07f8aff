//! The two calls of the C library that have no safe wrapper among the dependencies; the only `unsafe` code.
#![expect(unsafe_code, reason = "localtime_r and mallopt are wrapped here, and nowhere else")]

/// The local calendar's fields of a moment given in seconds since 1970; absent where the C library can't say.
pub(super) fn localtime(seconds: i64) -> Option<libc::tm> {
    #[allow(deprecated, clippy::useless_conversion, reason = "musl's time_t is 32 bits wide on some targets")]
    let moment: libc::time_t = seconds.try_into().ok()?;
    let mut calendar = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the call, and localtime_r keeps neither. It fills
    // `calendar` unless it returns null.
    unsafe {
        if libc::localtime_r(&raw const moment, calendar.as_mut_ptr()).is_null() {
            return None;
        }
        Some(calendar.assume_init())
    }
}

/// Has memory that was freed given back to the system; to be called before any thread is started.
///
/// glibc keeps a heap for each of many threads, and in each as much as twice the largest buffer
/// that it ever held: hundreds of megabytes after some large answers. musl does neither.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    for (what, value) in [(libc::M_ARENA_MAX, 2), (libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, LARGE)] {
        // SAFETY: it takes two numbers, and there is no other thread yet. Where it fails all stays as it was.
        unsafe { libc::mallopt(what, value) };
    }
}

/// A buffer of this size is mapped on its own, and unmapped when it is freed.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 128 * 1024;
