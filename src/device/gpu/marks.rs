//! Marks in the GPU's stream of work, by which results prove that all work before them has been done. Some drivers give a
//! submission up and report it as finished (on Metal gfx-rs/wgpu#9545, on DX12 after a reset): what is then read are the
//! results of earlier steps.
//!
//! Every submission ends with a mark: a number that is copied into its slot of a ring. Every copy to the host takes the ring
//! along. A submission that was not made, or not to its end, leaves an older number in its slot.

use crate::error::Fault;

/// Slots of the ring: for so many submissions a lost one can be seen.
const SLOTS: u64 = 64;
/// Bytes of the ring.
pub const BYTES: usize = 4 * SLOTS as usize;
/// Marks are numbered modulo this, so that they can be copied out of a buffer that is made once.
const NUMBERS: u64 = 4096;

pub struct Marks {
    /// 0, 1, 2, ...
    numbers: wgpu::Buffer,
    ring: wgpu::Buffer,
    /// Marks made so far.
    made: u64,
}

impl Marks {
    pub fn new(device: &wgpu::Device) -> Marks {
        let buffer = |label, size, usage, mapped_at_creation| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation,
            })
        };
        let numbers = buffer("numbers", 4 * NUMBERS, wgpu::BufferUsages::COPY_SRC, true);
        let all: Vec<u32> = (0..NUMBERS as u32).collect();
        // On a device that is lost already nothing is mapped; its next call says so.
        if let Ok(mut range) = numbers.get_mapped_range_mut(..) {
            range.copy_from_slice(bytemuck::cast_slice(&all));
        }
        numbers.unmap();
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        Marks { numbers, ring: buffer("marks", BYTES as u64, usage, false), made: 0 }
    }

    /// Makes a mark behind what is recorded.
    pub fn mark(&mut self, encoder: &mut wgpu::CommandEncoder) {
        self.made += 1;
        let (from, to) = (4 * (self.made % NUMBERS), 4 * (self.made % SLOTS));
        encoder.copy_buffer_to_buffer(&self.numbers, from, &self.ring, to, 4);
    }

    /// Makes a mark and copies the ring; gives the mark's number, for [`check`].
    pub fn copy(&mut self, encoder: &mut wgpu::CommandEncoder, to: &wgpu::Buffer, offset: u64) -> u64 {
        self.mark(encoder);
        encoder.copy_buffer_to_buffer(&self.ring, 0, to, offset, BYTES as u64);
        self.made
    }
}

/// An error unless a copy of the ring that was made with mark `last` holds this mark and those before it.
pub fn check(ring: &[u8], last: u64) -> Result<(), Fault> {
    let found = |mark: u64| {
        let at = 4 * (mark % SLOTS) as usize;
        u32::from_le_bytes(ring[at..at + 4].try_into().expect("4 bytes"))
    };
    let first = last.saturating_sub(SLOTS - 1).max(1);
    match (first..=last).find(|mark| u64::from(found(*mark)) != mark % NUMBERS) {
        None => Ok(()),
        Some(mark) => Err(Fault::Silent {
            message: format!("mark {mark} of {last} is missing, {} is in its place", found(mark)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ring after so many marks, without some of them.
    fn ring(last: u64, lost: &[u64]) -> Vec<u8> {
        let mut ring = [0u32; SLOTS as usize];
        for mark in (1..=last).filter(|mark| !lost.contains(mark)) {
            ring[(mark % SLOTS) as usize] = (mark % NUMBERS) as u32;
        }
        bytemuck::cast_slice(&ring).to_vec()
    }

    #[test]
    fn a_lost_mark_is_missed_until_others_have_replaced_it() {
        for last in [1, 2, 63, 64, 65, 4095, 4096, 4097, 10_000] {
            assert!(check(&ring(last, &[]), last).is_ok(), "{last}");
            for lost in last.saturating_sub(SLOTS - 1).max(1)..=last {
                assert!(check(&ring(last, &[lost]), last).is_err(), "{lost} of {last}");
            }
            assert!(check(&ring(last, &[]), last + 1).is_err(), "a copy that was not made");
        }
    }
}
