//! One of the many places at which a text is read side by side: each stream of a batch has a reader.

use std::ops::Range;

use super::Text;
use crate::error::Result;

/// Reads tokens one after the other, through a buffer of its own.
pub(super) struct Reader {
    buffer: Vec<u8>,
    /// The part of the buffer that was filled and not yet taken.
    left: Range<usize>,
    /// The offset in the source of what comes behind the buffer.
    offset: u64,
}

/// The longest token: a character of four bytes.
const LONGEST: usize = 4;

impl Reader {
    pub(super) fn new(buffer: usize) -> Self {
        Reader { buffer: vec![0; buffer], left: 0..0, offset: 0 }
    }

    /// Goes to the character at `offset`.
    pub(super) fn place(&mut self, offset: u64) {
        (self.left, self.offset) = (0..0, offset);
    }

    /// The next token.
    pub(super) fn token(&mut self, text: &Text) -> Result<i32> {
        if self.left.len() < LONGEST {
            self.buffer.copy_within(self.left.clone(), 0);
            self.left = 0..self.left.len();
            let read = text.0.source.fill(&mut self.buffer[self.left.end..], self.offset)?;
            self.left.end += read;
            self.offset += read as u64;
        }
        let (token, bytes) =
            text.0.lookup.first(&self.buffer[self.left.clone()]).ok_or_else(|| text.0.source.changed())?;
        self.left.start += bytes;
        Ok(token)
    }
}
