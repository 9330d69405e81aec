//! How many operations twins have made with [`Bounded`](super::real::Bounded) numbers on this thread: for the test of `work.rs`.

use std::cell::Cell;

thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });

/// Counts so many more.
pub fn add(operations: u64) {
    COUNT.set(COUNT.get() + operations);
}

/// Counts one for all that `f` does.
pub fn as_one<T>(f: impl FnOnce() -> T) -> T {
    let before = COUNT.get();
    let result = f();
    COUNT.set(before + 1);
    result
}

/// What was counted since the last call.
pub fn take() -> u64 {
    COUNT.replace(0)
}
