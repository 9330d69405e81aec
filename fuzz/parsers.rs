//! The readers that the targets feed: those of tests/hostile, so that both stay the same.

#[path = "../tests/common/parsers.rs"]
mod parsers;

pub use parsers::*;

/// What a reader of two files is given of one input: its first two bytes say how long the first file is.
pub fn two(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk()?;
    rest.split_at_checked(u16::from_le_bytes(*length).into())
}
