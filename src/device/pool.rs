//! Reuse of buffers. The free buffer with the lowest number is taken first, so that a program that allocates
//! and frees the same sizes in the same order every step gets the same buffers every step: the bind groups
//! of one step then serve all.

use std::collections::BTreeMap;

use super::Stats;

/// Free buffers by size class.
pub struct Pool<M> {
    /// Of each class the buffers with their numbers, the lowest last.
    free: BTreeMap<usize, Vec<(u64, M)>>,
    next_id: u64,
    pub created: u64,
    pub bytes_in_use: u64,
    pub bytes_peak: u64,
    /// Of all buffers that there are, free ones included, and the most there were.
    held: u64,
    pub bytes_held: u64,
    pub largest: u64,
}

/// The size that a request is rounded up to: sixteen classes to each power of two, at least 256 bytes. States have a slot
/// more than there are steps, so their size is often just above a power of two.
pub fn size_class(bytes: usize) -> usize {
    let bytes = bytes.max(256);
    let step = (bytes.next_power_of_two() / 32).max(256);
    bytes.next_multiple_of(step)
}

impl<M> Pool<M> {
    pub fn new() -> Self {
        Pool {
            free: BTreeMap::new(),
            next_id: 0,
            created: 0,
            bytes_in_use: 0,
            bytes_peak: 0,
            held: 0,
            bytes_held: 0,
            largest: 0,
        }
    }

    /// A free buffer of the class, or a new one made by `create`. `class` is a [`size_class`].
    pub fn take<E>(&mut self, class: usize, create: impl FnOnce() -> Result<M, E>) -> Result<(u64, M), E> {
        let (id, memory) = match self.free.get_mut(&class).and_then(Vec::pop) {
            Some(found) => found,
            None => {
                let memory = create()?;
                self.next_id += 1;
                self.created += 1;
                self.held += class as u64;
                self.bytes_held = self.bytes_held.max(self.held);
                self.largest = self.largest.max(class as u64);
                (self.next_id, memory)
            }
        };
        self.bytes_in_use += class as u64;
        self.bytes_peak = self.bytes_peak.max(self.bytes_in_use);
        Ok((id, memory))
    }

    pub fn put(&mut self, id: u64, class: usize, memory: M) {
        self.bytes_in_use -= class as u64;
        let free = self.free.entry(class).or_default();
        free.insert(free.partition_point(|(other, _)| *other > id), (id, memory));
    }

    /// What it counts.
    pub fn stats(&self) -> Stats {
        Stats {
            buffers_created: self.created,
            bytes_in_use: self.bytes_in_use,
            bytes_peak: self.bytes_peak,
            bytes_held: self.bytes_held,
            bytes_largest: self.largest,
            ..Stats::default()
        }
    }

    /// Gives up all free buffers.
    pub fn clear(&mut self) {
        self.free.clear();
        self.held = self.bytes_in_use;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_the_request_and_waste_at_most_a_sixteenth() {
        for bytes in [0usize, 1, 255, 256, 257, 1000, 1025, 5000, 1 << 20, (1 << 20) + 1, 123_456_789] {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(256), "{bytes} -> {class}");
            assert!(class <= 256 + bytes + bytes / 16, "{bytes} -> {class}");
            assert_eq!(size_class(class), class);
        }
    }

    #[test]
    fn the_same_steps_get_the_same_buffers() {
        let mut pool = Pool::new();
        let mut step = |flip: bool| {
            let mut take = |class| pool.take::<()>(class, || Ok('m')).unwrap();
            let (a, b, c) = (take(256), take(256), take(512));
            // Freed in any order, the next step takes them by number.
            let order = if flip { [b, a] } else { [a, b] };
            order.into_iter().for_each(|(id, m)| pool.put(id, 256, m));
            pool.put(c.0, 512, c.1);
            [a.0, b.0, c.0]
        };
        let first = step(false);
        assert_eq!(first, step(true));
        assert_eq!(first, step(false));
        assert_eq!(pool.created, 3);
        assert_eq!([pool.bytes_in_use, pool.bytes_peak, pool.bytes_held, pool.largest], [0, 1024, 1024, 512]);
        pool.clear();
        pool.take::<()>(768, || Ok('m')).unwrap();
        assert_eq!([pool.held, pool.bytes_held, pool.largest], [768, 1024, 768]);
    }
}
