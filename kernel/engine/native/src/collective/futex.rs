//! Sleeping until a word of shared memory changes.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while `word` is `seen`, for at most `timeout`; may return early for no reason.
#[cfg(target_os = "linux")]
pub fn wait(word: &AtomicU32, seen: u32, timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: timeout.subsec_nanos() as libc::c_long,
    };
    // Not FUTEX_PRIVATE_FLAG: the word lies in memory of several processes. Every outcome means: look again.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, &raw const timeout) };
}

/// Wakes all that wait for `word` to change.
#[cfg(target_os = "linux")]
pub fn wake(word: &AtomicU32) {
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// Elsewhere the system has no such call that is public: a short sleep, which costs less than one percent of a processor.
#[cfg(not(target_os = "linux"))]
pub fn wait(word: &AtomicU32, seen: u32, timeout: Duration) {
    use std::sync::atomic::Ordering;
    if word.load(Ordering::Acquire) == seen {
        std::thread::sleep(timeout.min(Duration::from_micros(200)));
    }
}

/// Nothing to do: waiters wake by themselves.
#[cfg(not(target_os = "linux"))]
pub fn wake(_word: &AtomicU32) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_change_wakes_the_sleeper_and_a_stale_view_does_not_sleep() {
        let word = Arc::new(AtomicU32::new(0));
        wait(&word, 7, Duration::from_secs(3600));
        let sleeper = std::thread::spawn({
            let word = word.clone();
            move || {
                while word.load(Ordering::Acquire) == 0 {
                    wait(&word, 0, Duration::from_secs(3600));
                }
            }
        });
        word.store(1, Ordering::Release);
        wake(&word);
        sleeper.join().unwrap();
    }
}
