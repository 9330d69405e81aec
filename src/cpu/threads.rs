//! Work on several threads. Nothing that is computed depends on how many there are.
//!
//! Launches come every few microseconds, and waking a sleeping thread takes twenty or more. So the helping threads stay awake for
//! a while after their work, and a launch never waits for one that sleeps: each block goes to the thread that comes for it
//! first, and the launching thread works too. (With rayon a launch on two threads took 45 µs longer than its work; with this
//! about 2.)

use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

/// Multiplications, or as much other work, from which on a launch is worth splitting: about ten
/// microseconds.
const WORTH_THREADS: usize = 1 << 20;

/// The grain for work on neighbours in memory: threads that write to the same cache line would wait for each other.
pub const GRAIN: usize = 64;

thread_local! {
    static LIMIT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// How many threads share so much work: one for little; else all of the machine, or as many as the environment variable
/// `BPTT_THREADS` says.
fn threads(work: usize) -> usize {
    match LIMIT.get() {
        Some(threads) => {
            // Starts the other threads, if nobody has yet.
            Pool::threads();
            threads
        }
        None if work < WORTH_THREADS => 1,
        None => Pool::threads(),
    }
}

/// Runs `f` with all its launches, small ones too, split for so many threads: tests see by it that this changes no result.
pub fn with_threads<T>(threads: usize, f: impl FnOnce() -> T) -> T {
    let _before = Before(LIMIT.replace(Some(threads.max(1))));
    f()
}

/// The limit to go back to, also when `f` panics.
struct Before(Option<usize>);

impl Drop for Before {
    fn drop(&mut self) {
        LIMIT.set(self.0);
    }
}

/// Runs `f` for blocks that are together `0..count`, each but the last a multiple of `grain`: on several threads where
/// `work`, that of all blocks, is worth it, the calling one among them. `f` must compute each element by itself, so that
/// the blocks do not matter to the result.
pub fn in_blocks(count: usize, grain: usize, work: usize, f: impl Fn(Range<usize>) + Sync) {
    // More blocks than threads: a thread that is held up takes fewer.
    blocks(4, count, grain, work, f);
}

/// [`in_blocks`] with as few blocks as keep all threads busy, for work that gains by large ones.
pub fn in_large_blocks(count: usize, grain: usize, work: usize, f: impl Fn(Range<usize>) + Sync) {
    blocks(1, count, grain, work, f);
}

fn blocks(turns: usize, count: usize, grain: usize, work: usize, f: impl Fn(Range<usize>) + Sync) {
    let threads = threads(work);
    if threads == 1 || count <= grain {
        return f(0..count);
    }
    let size = count.div_ceil(turns * threads).next_multiple_of(grain);
    let next = AtomicUsize::new(0);
    let run = || loop {
        let start = next.fetch_add(size, Ordering::Relaxed);
        if start >= count {
            return;
        }
        f(start..count.min(start + size));
    };
    POOL.help_with(&run, threads.min(count.div_ceil(size)) - 1);
}

/// Work that can be shared: each thread that calls it does a part, until none is left.
type Work<'a> = dyn Fn() + Sync + 'a;

/// Threads that help with the work of others.
struct Pool {
    /// Held by the thread whose work it is.
    owner: Mutex<()>,
    work: UnsafeCell<Option<&'static Work<'static>>>,
    /// How many are at work, and [`CLOSED`] where no more may begin.
    gate: AtomicUsize,
    /// Grows with each piece of work.
    round: AtomicU32,
    /// How many sleep, until the round changes.
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    /// Whether a helper panicked.
    panicked: AtomicBool,
}

/// Of [`Pool::gate`].
const CLOSED: usize = 1 << 31;
/// How often a helper looks for work before it sleeps: about 100 µs.
const PATIENCE: u32 = 5_000;

// SAFETY: `work` is written only by the owner while the gate is closed and nobody is at work, and read only by those at work.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool {
    owner: Mutex::new(()),
    work: UnsafeCell::new(None),
    gate: AtomicUsize::new(CLOSED),
    round: AtomicU32::new(0),
    sleepers: AtomicUsize::new(0),
    sleep: Mutex::new(()),
    wake: Condvar::new(),
    panicked: AtomicBool::new(false),
};

impl Pool {
    /// The number of threads, the calling one included. The first call starts the others.
    fn threads() -> usize {
        static THREADS: OnceLock<usize> = OnceLock::new();
        *THREADS.get_or_init(|| {
            let asked = std::env::var("BPTT_THREADS").ok().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
            let wanted =
                asked.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
            let start = |n: &usize| {
                let builder = std::thread::Builder::new().name(format!("bptt {n}"));
                builder.spawn(|| POOL.help()).is_ok()
            };
            1 + (1..wanted).take_while(start).count()
        })
    }

    /// Does the work with the help of up to so many threads; or alone, where they help with other work already, perhaps of this very
    /// thread.
    fn help_with(&self, work: &Work<'_>, helpers: usize) {
        let Ok(_owner) = self.owner.try_lock() else { return work() };
        // SAFETY: only the lifetime changes: the reference is out of use when `Closing` has been dropped.
        let shared = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        // SAFETY: this thread is the owner, and the gate is closed: nobody reads.
        unsafe { *self.work.get() = Some(shared) };
        let closing = Closing(self);
        self.gate.store(0, Ordering::Release);
        self.round.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            (0..helpers).for_each(|_| self.wake.notify_one());
        }
        work();
        drop(closing);
        if self.panicked.swap(false, Ordering::Relaxed) {
            panic!("a thread that helped with a kernel panicked: see its message above");
        }
    }

    /// What helpers do for ever.
    fn help(&self) {
        let mut seen = 0;
        loop {
            seen = self.wait(seen);
            if !self.enter() {
                continue;
            }
            // SAFETY: the gate was open: the work is there, and its owner waits for this thread to leave.
            let work = unsafe { *self.work.get() }.expect("there is work while the gate is open");
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.gate.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for a round other than the one seen, at first awake.
    fn wait(&self, seen: u32) -> u32 {
        for _ in 0..PATIENCE {
            let round = self.round.load(Ordering::Acquire);
            if round != seen {
                return round;
            }
            std::hint::spin_loop();
        }
        let mut sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut round = self.round.load(Ordering::SeqCst);
        while round == seen {
            sleep = self.wake.wait(sleep).unwrap_or_else(PoisonError::into_inner);
            round = self.round.load(Ordering::SeqCst);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        round
    }

    /// Begins to work, unless the gate is closed.
    fn enter(&self) -> bool {
        let one_more = |gate| (gate & CLOSED == 0).then_some(gate + 1);
        self.gate.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).is_ok()
    }
}

/// Closes the gate and waits for those at work, also when the owner's part of the work panics.
struct Closing<'a>(&'a Pool);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.gate.fetch_or(CLOSED, Ordering::Relaxed);
        let mut looks = 0;
        while self.0.gate.load(Ordering::Acquire) != CLOSED {
            looks += 1;
            if looks < PATIENCE { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

/// A buffer that several threads write, each its own part of it.
pub struct Shared<'a, T = f32> {
    start: *mut T,
    len: usize,
    lifetime: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: it is only a pointer; those who take parts of it promise that parts in use at once do not overlap.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// A buffer to be shared.
    pub fn new(x: &'a mut [T]) -> Self {
        Shared { start: x.as_mut_ptr(), len: x.len(), lifetime: std::marker::PhantomData }
    }

    /// `len` elements from `from` on.
    ///
    /// # Safety
    /// While the part is used, nobody else uses a part that overlaps it.
    #[allow(clippy::mut_from_ref, reason = "that is what it is for; see Safety")]
    #[inline(always)]
    pub unsafe fn part(&self, from: usize, len: usize) -> &mut [T] {
        assert!(from <= self.len && len <= self.len - from, "a part lies inside its buffer");
        // SAFETY: inside the buffer, which is borrowed exclusively for 'a; and see above.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_everything_once() {
        for threads in [1, 2, 3, 7] {
            for count in [0, 1, 7, 8, 9, 63, 200] {
                for (grain, work) in [(1, 0), (8, 0), (1, WORTH_THREADS), (8, WORTH_THREADS)] {
                    for turns in [1, 4] {
                        let seen = Mutex::new(vec![0; count]);
                        let note = |block: Range<usize>| {
                            seen.lock().unwrap()[block].iter_mut().for_each(|n| *n += 1)
                        };
                        with_threads(threads, || blocks(turns, count, grain, work, note));
                        assert!(seen.into_inner().unwrap().iter().all(|n| *n == 1));
                    }
                }
            }
        }
    }

    #[test]
    fn several_threads_may_launch_at_once_and_launches_may_nest() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let done = AtomicUsize::new(0);
                        with_threads(3, || {
                            blocks(4, 50, 1, WORTH_THREADS, |outer| {
                                blocks(1, outer.len(), 1, WORTH_THREADS, |inner| {
                                    done.fetch_add(inner.len(), Ordering::Relaxed);
                                });
                            });
                        });
                        assert_eq!(done.into_inner(), 50);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_launching_thread_and_the_pool_lives_on() {
        let launch = |bad: usize| {
            catch_unwind(|| {
                with_threads(2, || blocks(4, 8, 1, WORTH_THREADS, |block| assert!(block.start != bad)))
            })
        };
        for bad in 0..8 {
            assert!(launch(bad).is_err());
            assert!(launch(usize::MAX).is_ok());
        }
    }
}
