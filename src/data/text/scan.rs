//! The first reading of a text from end to end. It finds the vocabulary, the length and the hash, and marks the offsets of some
//! characters: in UTF-8 the offset of a character cannot be computed, and so it is looked for from the mark before it.

use xxhash_rust::xxh3::Xxh3Default;

use super::source::Source;
use super::vocabulary::{Seen, Unit, Vocabulary};
use crate::data::{UTF16, is_utf16};
use crate::error::Result;

/// How much of a text is held in memory. Tests take small sizes, so that short texts reach every edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Bytes read at once where a text is read in one go; 4 or more, so that a character fits.
    pub block: usize,
    /// Bytes read at once for one of many streams; 4 or more.
    pub buffer: usize,
    /// Characters between two marks, at first; see [`Marks`].
    pub mark: usize,
    /// The most marks, an even number. Where there would be more, every second mark is dropped.
    pub marks: usize,
}

pub(super) const SIZES: Sizes = Sizes { block: 1 << 16, buffer: 1 << 14, mark: 1 << 14, marks: 1 << 18 };

/// What is known of a text that was read.
pub(super) struct Scan {
    /// Offset of the text: behind a byte order mark.
    pub start: u64,
    /// Length of the text.
    pub bytes: u64,
    pub tokens: usize,
    /// The hash of the text's bytes: XXH3 with 64 bits.
    pub hash: u64,
    marks: Marks,
}

/// What else can be done with a text that is not UTF-8.
const OR_BYTES: &str = ", or read it as bytes with --tokens bytes";

/// Reads a text. Where no vocabulary is `known`, one is made of the characters that are found.
pub(super) fn scan(
    source: &Source,
    unit: Unit,
    known: Option<&Vocabulary>,
    sizes: &Sizes,
) -> Result<(Scan, Vocabulary)> {
    // What is read for a model that reads characters cannot be read as bytes instead.
    let bytes = if known.is_none() { OR_BYTES } else { "" };
    let marks = Marks { every: sizes.mark, most: sizes.marks, offsets: Vec::new() };
    let start = if unit == Unit::Bytes { 0 } else { behind_mark(source, bytes)? };
    let mut scan = Scan { start, bytes: 0, tokens: 0, hash: 0, marks };
    if unit == Unit::Bytes {
        (scan.hash, scan.bytes) = hash(source, start, sizes)?;
        scan.tokens = scan.bytes as usize;
        return Ok((scan, Vocabulary::bytes()));
    }

    let mut hasher = Xxh3Default::new();
    let mut seen = Seen::default();
    let mut block = vec![0; sizes.block];
    let mut offset = start;
    loop {
        let filled = source.fill(&mut block, offset)?;
        let text = whole_characters(&block[..filled]).map_err(|at| {
            source.error(format!(
                "is not UTF-8 text: byte 0x{:02X} at offset {}; save it as UTF-8{bytes}",
                block[at],
                offset + at as u64
            ))
        })?;
        if text.is_empty() {
            break;
        }
        hasher.update(text.as_bytes());
        for (i, c) in text.char_indices() {
            let at = offset + i as u64;
            scan.marks.pass(scan.tokens, at);
            scan.tokens += 1;
            if seen.insert(c)
                && let Some(known) = known
                && known.chars().binary_search(&c).is_err()
            {
                let (line, column) = line_and_column(source, start, at, sizes)?;
                return Err(source.error(format!(
                    "line {line}, column {column}: the character {c:?} is not in the model's vocabulary: leave it out, or train \
                     a model on a text that has it"
                )));
            }
        }
        offset += text.len() as u64;
    }
    (scan.hash, scan.bytes) = (hasher.digest(), offset - start);
    Ok((scan, known.cloned().unwrap_or_else(|| seen.vocabulary())))
}

impl Scan {
    /// The offset at which a token begins.
    pub(super) fn offset_of(&self, token: usize, source: &Source, sizes: &Sizes) -> Result<u64> {
        if self.tokens as u64 == self.bytes {
            return Ok(self.start + token as u64);
        }
        let (mut left, mut offset) = self.marks.before(token);
        let mut block = vec![0; sizes.buffer];
        loop {
            let filled = source.fill(&mut block, offset)?;
            if filled == 0 {
                return Err(source.changed());
            }
            for (at, _) in (offset..).zip(&block[..filled]).filter(|(_, byte)| begins_character(**byte)) {
                if left == 0 {
                    return Ok(at);
                }
                left -= 1;
            }
            offset += filled as u64;
        }
    }
}

/// The hash and the number of the bytes from `start` on.
pub(super) fn hash(source: &Source, start: u64, sizes: &Sizes) -> Result<(u64, u64)> {
    let mut hasher = Xxh3Default::new();
    let mut block = vec![0; sizes.block];
    let mut offset = start;
    loop {
        let filled = source.fill(&mut block, offset)?;
        if filled == 0 {
            return Ok((hasher.digest(), offset - start));
        }
        hasher.update(&block[..filled]);
        offset += filled as u64;
    }
}

/// Where the text begins: behind UTF-8's byte order mark where there is one.
fn behind_mark(source: &Source, bytes: &str) -> Result<u64> {
    let mut head = [0; 3];
    source.fill(&mut head, 0)?;
    if is_utf16(&head) {
        return Err(source.error(format!("{UTF16}{bytes}")));
    }
    Ok(if head == [0xEF, 0xBB, 0xBF] { 3 } else { 0 })
}

/// The text in `bytes`, without a character that is cut off at their end; or the place of the first byte that is not UTF-8.
/// Where `bytes` hold nothing but a cut-off character, the source ends within it, and so it is not UTF-8.
fn whole_characters(bytes: &[u8]) -> Result<&str, usize> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(e) if e.error_len().is_some() || e.valid_up_to() == 0 => Err(e.valid_up_to()),
        Err(e) => Ok(std::str::from_utf8(&bytes[..e.valid_up_to()]).expect("they were found valid")),
    }
}

/// Whether a byte of UTF-8 is the first of a character.
fn begins_character(byte: u8) -> bool {
    byte & 0xC0 != 0x80
}

/// The line and, in characters, the column of the character at offset `at`; both are counted from 1.
fn line_and_column(source: &Source, start: u64, at: u64, sizes: &Sizes) -> Result<(usize, usize)> {
    let (mut line, mut column) = (1, 1);
    let mut block = vec![0; sizes.block];
    let mut offset = start;
    while offset < at {
        let filled = source.fill(&mut block, offset)?;
        if filled == 0 {
            return Err(source.changed());
        }
        for (_, &byte) in (offset..at).zip(&block[..filled]) {
            if byte == b'\n' {
                (line, column) = (line + 1, 1);
            } else if begins_character(byte) {
                column += 1;
            }
        }
        offset += filled as u64;
    }
    Ok((line, column))
}

/// The offset of each `every`-th character.
struct Marks {
    every: usize,
    most: usize,
    offsets: Vec<u64>,
}

impl Marks {
    /// Marks a character, if it is one to be marked. Called for each character in turn.
    fn pass(&mut self, character: usize, offset: u64) {
        if character != self.every * self.offsets.len() {
            return;
        }
        if self.offsets.len() == self.most {
            let mut keep = false;
            self.offsets.retain(|_| {
                keep = !keep;
                keep
            });
            self.every *= 2;
        }
        self.offsets.push(offset);
    }

    /// The last mark at or before a character: how many characters lie between the two, and the mark's offset.
    fn before(&self, character: usize) -> (usize, u64) {
        (character % self.every, self.offsets[character / self.every])
    }
}
