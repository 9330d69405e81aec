//! Work on several threads. Nothing that is computed depends on how many there are.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Multiplications, or as much other work, from which on a launch is worth waking other threads for: some tens of
/// microseconds.
const WORTH_THREADS: usize = 1 << 22;

/// A grain for neighbours in memory: threads that write to the same cache line wait for each other.
pub const GRAIN: usize = 64;

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
    let threads = if work < WORTH_THREADS { 1 } else { rayon::current_num_threads() };
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
    // The others wake up while this one works.
    rayon::in_place_scope(|scope| {
        for _ in 1..threads.min(count.div_ceil(size)) {
            scope.spawn(|_| run());
        }
        run();
    });
}

/// A buffer that several threads write, each its own part of it.
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    lifetime: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: it is only a pointer; those who take parts of it promise that parts in use at once do not overlap.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(x: &'a mut [f32]) -> Self {
        Shared { start: x.as_mut_ptr(), len: x.len(), lifetime: std::marker::PhantomData }
    }

    /// `len` elements from `from` on.
    ///
    /// # Safety
    /// While the part is used, nobody else uses a part that overlaps it.
    #[allow(clippy::mut_from_ref, reason = "that is what it is for; see Safety")]
    #[inline(always)]
    pub unsafe fn part(&self, from: usize, len: usize) -> &mut [f32] {
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
        for count in [0, 1, 7, 8, 9, 63, 200] {
            for (grain, work) in [(1, 0), (8, 0), (1, WORTH_THREADS), (8, WORTH_THREADS)] {
                for turns in [1, 4] {
                    let seen = std::sync::Mutex::new(vec![0; count]);
                    blocks(turns, count, grain, work, |block| {
                        seen.lock().unwrap()[block].iter_mut().for_each(|n| *n += 1)
                    });
                    assert!(seen.into_inner().unwrap().iter().all(|n| *n == 1));
                }
            }
        }
    }
}
