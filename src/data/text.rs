//! Text as tokens: a file is read, its characters become a [`Vocabulary`], and the tokens are cut into
//! [`Windows`] (every place of a short text) or [`Streams`] (truncated backpropagation through a long one).
//!
//! A token is the index of its character in the vocabulary, an `i32` because the labels on a device are.
//! The target of a token is always the token after it.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

/// The text of the experiment `hihello`.
pub const HIHELLO: &str = "hihello";

/// The text of the experiment `charseq`.
pub const CHARSEQ: &str = " if you want you";

/// The text of the experiment `longseq`: 180 characters, 25 of them distinct.
pub const LONGSEQ: &str = "if you want to build a ship, don't drum up people together to collect wood and don't assign \
                           them tasks and work, but rather teach them to long for the endless immensity of the sea.";

/// The largest file that [`read_text`] takes, in bytes: 1 GiB. Its tokens take four bytes a character.
pub const MAX_BYTES: u64 = 1 << 30;

/// The share of a text, at its end, that is kept for validation.
pub const HELD_OUT: f64 = 0.1;

/// The contents of a UTF-8 file, without its byte order mark. Line ends stay as they are.
///
/// # Errors
/// [`Error::Data`] where the file is missing, unreadable, a folder, empty, larger than [`MAX_BYTES`], or not
/// UTF-8; the last names the offset of the first bad byte, counted from 0.
pub fn read_text(path: &Path) -> Result<String> {
    let too_large = |size: String| {
        let message = format!("has {size} bytes; at most {MAX_BYTES} (1 GiB) can be read: take a part of it");
        Error::data(path, message)
    };

    let (file, len) = super::open(path, "text file")?;
    if len > MAX_BYTES {
        return Err(too_large(len.to_string()));
    }
    // A device or a pipe has no length, and a file may grow: what is read has the same limit.
    let mut bytes = Vec::with_capacity(len as usize);
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| super::unreadable(path, &e))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large(format!("more than {MAX_BYTES}")));
    }
    from_utf8(bytes).map_err(|message| Error::data(path, message))
}

/// The text in `bytes` without its byte order mark, or what is wrong with them.
fn from_utf8(bytes: Vec<u8>) -> Result<String, String> {
    if super::is_utf16(&bytes) {
        return Err(super::UTF16.into());
    }
    let mut text = String::from_utf8(bytes).map_err(|e| {
        let (offset, bytes) = (e.utf8_error().valid_up_to(), e.as_bytes());
        format!("is not UTF-8 text: byte 0x{:02X} at offset {offset}", bytes[offset])
    })?;
    if text.starts_with('\u{FEFF}') {
        text.remove(0);
    }
    if text.is_empty() { Err("is empty".into()) } else { Ok(text) }
}

/// The distinct characters of a text, sorted by code point. A character's token is its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    chars: Vec<char>,
}

/// A character that a [`Vocabulary`] does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("character {position}, {character:?}, is not in the vocabulary")]
pub struct UnknownChar {
    /// The character.
    pub character: char,
    /// Its place in the text, counted in characters from 1.
    pub position: usize,
}

impl Vocabulary {
    /// The characters of `text`.
    pub fn from_text(text: &str) -> Self {
        // One flag a code point: no copy of the text, and the order comes by itself.
        let mut seen = vec![false; char::MAX as usize + 1];
        text.chars().for_each(|c| seen[c as usize] = true);
        Self { chars: ('\0'..=char::MAX).filter(|&c| seen[c as usize]).collect() }
    }

    /// The characters as [`chars`](Self::chars) gave them, for a model that is loaded.
    ///
    /// # Errors
    /// [`Error::Argument`] unless there is at least one and each is greater than the one before it.
    pub fn from_chars(chars: impl IntoIterator<Item = char>) -> Result<Self> {
        let chars: Vec<char> = chars.into_iter().collect();
        if chars.is_empty() {
            return Err(Error::argument("vocabulary", "has no characters"));
        }
        if let Some(pair) = chars.windows(2).find(|pair| pair[0] >= pair[1]) {
            let message = format!("must be sorted and distinct, but {:?} comes after {:?}", pair[1], pair[0]);
            return Err(Error::argument("vocabulary", message));
        }
        Ok(Self { chars })
    }

    /// The characters, sorted by code point.
    pub fn chars(&self) -> &[char] {
        &self.chars
    }

    /// How many characters there are: the number of classes of a model.
    pub fn len(&self) -> usize {
        self.chars.len()
    }

    /// Whether there are none, as in the vocabulary of an empty text.
    pub fn is_empty(&self) -> bool {
        self.chars.is_empty()
    }

    /// The token of each character of `text`.
    ///
    /// # Errors
    /// [`UnknownChar`], the first character of `text` that is not in the vocabulary.
    pub fn encode(&self, text: &str) -> Result<Vec<i32>, UnknownChar> {
        let token = |(i, character)| match self.chars.binary_search(&character) {
            Ok(token) => Ok(token as i32),
            Err(_) => Err(UnknownChar { character, position: i + 1 }),
        };
        text.chars().enumerate().map(token).collect()
    }

    /// The text of `tokens`; a number that is no token becomes U+FFFD, the replacement character.
    pub fn decode(&self, tokens: &[i32]) -> String {
        let character = |&token: &i32| usize::try_from(token).ok().and_then(|i| self.chars.get(i)).copied();
        tokens.iter().map(|token| character(token).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }
}

/// Every window of a text, one character apart, and the same windows one character later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The windows, batch-major: `[batch, time]`.
    pub inputs: Vec<i32>,
    /// The token after each input: `[batch, time]`.
    pub targets: Vec<i32>,
    /// How many windows there are.
    pub batch: usize,
    /// How many tokens a window has.
    pub time: usize,
}

impl Windows {
    /// The `tokens.len() - time` windows of `time` tokens.
    ///
    /// # Errors
    /// [`Error::Argument`] where `time` is 0 or there are fewer than `time + 1` tokens.
    pub fn new(tokens: &[i32], time: usize) -> Result<Self> {
        if time == 0 || tokens.len() <= time {
            let len = tokens.len();
            let message = format!("a window has 1 or more characters, fewer than the text: {time} of {len}");
            return Err(Error::argument("windows", message));
        }
        let cut = |tokens: &[i32]| tokens.windows(time).flatten().copied().collect();
        Ok(Self {
            inputs: cut(&tokens[..tokens.len() - 1]),
            targets: cut(&tokens[1..]),
            batch: tokens.len() - time,
            time,
        })
    }
}

/// A text as `batch` contiguous streams that are read side by side in chunks of `sequence` steps: the batches
/// of truncated backpropagation through time, where each stream's hidden state is carried from chunk to chunk.
///
/// Stream `b` holds the tokens from `b * len` on, where `len = tokens / batch`; what remains of the text, and
/// of each stream behind its last whole chunk, is left out. So all chunks have one shape, and no token is
/// predicted twice in a pass.
#[derive(Clone, Debug)]
pub struct Streams {
    /// Time-major `[len, batch]`, so that a chunk is a slice and its targets are the slice one row later.
    rows: Vec<i32>,
    batch: usize,
    sequence: usize,
    /// The chunk that [`next_chunk`](Streams::next_chunk) gives next.
    next: usize,
}

/// One step's batch, cut from [`Streams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Time-major: `[sequence, batch]`.
    pub inputs: &'a [i32],
    /// The token after each input: `[sequence, batch]`.
    pub targets: &'a [i32],
    /// Whether the streams start here: the carried hidden state must be set to zero first.
    pub starts_over: bool,
}

impl Streams {
    /// Cuts `tokens` into `batch` streams.
    ///
    /// # Errors
    /// [`Error::Argument`] where `batch` or `sequence` is 0 or a stream is shorter than `sequence + 1` tokens;
    /// [`fit`] finds a batch and a sequence that are not.
    pub fn new(tokens: &[i32], batch: usize, sequence: usize) -> Result<Self> {
        if batch == 0 || sequence == 0 {
            let message = format!("batch and sequence must be at least 1, not {batch} and {sequence}");
            return Err(Error::argument("streams", message));
        }
        if !holds(tokens.len(), batch, sequence) {
            let message = format!(
                "batch {batch} of sequence {sequence} needs {batch} x ({sequence} + 1) characters, but there are {}",
                tokens.len()
            );
            return Err(Error::argument("streams", message));
        }
        let len = tokens.len() / batch;
        let rows = (0..len).flat_map(|t| (0..batch).map(move |b| tokens[b * len + t])).collect();
        Ok(Self { rows, batch, sequence, next: 0 })
    }

    /// How many streams there are.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// How many steps a chunk has.
    pub fn sequence(&self) -> usize {
        self.sequence
    }

    /// How many chunks a pass over the text has.
    pub fn chunks(&self) -> usize {
        (self.rows.len() / self.batch - 1) / self.sequence
    }

    /// The chunk after the last one that was given; after the last of a pass, the first again.
    pub fn next_chunk(&mut self) -> Chunk<'_> {
        let index = self.next;
        self.next = (index + 1) % self.chunks();
        self.chunk(index)
    }

    /// One pass over the text from its start, whatever [`next_chunk`](Self::next_chunk) has given.
    pub fn pass(&self) -> impl ExactSizeIterator<Item = Chunk<'_>> {
        (0..self.chunks()).map(|index| self.chunk(index))
    }

    fn chunk(&self, index: usize) -> Chunk<'_> {
        let size = self.sequence * self.batch;
        let inputs = &self.rows[index * size..];
        Chunk { inputs: &inputs[..size], targets: &inputs[self.batch..][..size], starts_over: index == 0 }
    }
}

/// Whether `tokens` are enough for one chunk: a stream needs one token more than its inputs, the last target.
fn holds(tokens: usize, batch: usize, sequence: usize) -> bool {
    batch.saturating_mul(sequence.saturating_add(1)) <= tokens
}

/// The tokens for training and, from the end, the share `held_out` for validation, rounded down.
pub fn split(tokens: &[i32], held_out: f64) -> (&[i32], &[i32]) {
    tokens.split_at(tokens.len() - held_out_of(tokens.len(), held_out))
}

/// How many of `tokens` are held out. A share outside 0 to 1 counts as the nearer of the two.
fn held_out_of(tokens: usize, held_out: f64) -> usize {
    ((tokens as f64 * held_out) as usize).min(tokens)
}

/// The largest batch and sequence for a text of that many tokens of which [`HELD_OUT`] are for validation: both
/// parts hold a chunk or more. What was asked for is kept where it fits; if not, the batch is halved until it
/// does, down to 1, and only then the sequence, because a model sees no further than its sequence.
/// None where even one character at a time does not fit: under 20 characters.
pub fn fit(tokens: usize, batch: usize, sequence: usize) -> Option<(usize, usize)> {
    let validation = held_out_of(tokens, HELD_OUT);
    let smaller = validation.min(tokens - validation);
    let (mut batch, mut sequence) = (batch, sequence);
    while !holds(smaller, batch, sequence) {
        match (batch, sequence) {
            (2.., _) => batch /= 2,
            (_, 2..) => sequence /= 2,
            _ => return None,
        }
    }
    Some((batch, sequence))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// What `read_text` says of a file with these bytes, without the path.
    fn read(bytes: &[u8]) -> Result<String, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        read_text(file.path()).map_err(|e| match e {
            Error::Data { path, message } if path == file.path() => message,
            other => panic!("{other:?} is not an error about the file"),
        })
    }

    #[test]
    fn reads_utf8() {
        assert_eq!(read(b"a"), Ok("a".into()));
        assert_eq!(read("grün\r\n\u{1F600}\0".as_bytes()), Ok("grün\r\n\u{1F600}\0".into()));
        assert_eq!(read(b"\xEF\xBB\xBFa"), Ok("a".into()), "a byte order mark is no text");
        assert_eq!(read("a\u{FEFF}".as_bytes()), Ok("a\u{FEFF}".into()), "only the first is a mark");
    }

    #[test]
    fn refuses_what_is_no_text() {
        for (bytes, says) in [
            (&b""[..], "is empty"),
            (b"\xEF\xBB\xBF", "is empty"),
            (b"ab\xFFc", "is not UTF-8 text: byte 0xFF at offset 2"),
            (b"\xEF\xBB\xBFab\x80", "is not UTF-8 text: byte 0x80 at offset 5"),
            (b"caf\xC3", "is not UTF-8 text: byte 0xC3 at offset 3"),
            (b"\xFF\xFEa\0", "is UTF-16 text, by its byte order mark: save it as UTF-8"),
            (b"\xFE\xFF\0a", "is UTF-16 text, by its byte order mark: save it as UTF-8"),
        ] {
            assert_eq!(read(bytes).unwrap_err(), says);
        }
        let folder = tempfile::tempdir().unwrap();
        let says = |path: &Path| read_text(path).unwrap_err().to_string();
        assert!(says(folder.path()).ends_with(": is a folder, not a text file"));
        assert!(says(&folder.path().join("missing")).ends_with("missing: no such file"));
    }

    #[test]
    fn refuses_a_huge_file_before_reading_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_BYTES + 1).unwrap(); // sparse: takes no space
        let message = read_text(file.path()).unwrap_err().to_string();
        assert!(message.contains("has 1073741825 bytes; at most 1073741824 (1 GiB)"), "{message}");
    }

    #[test]
    fn texts_of_the_experiments() {
        let distinct = |text| Vocabulary::from_text(text).len();
        assert_eq!((LONGSEQ.chars().count(), distinct(LONGSEQ)), (180, 25));
        assert_eq!((CHARSEQ.chars().count(), distinct(CHARSEQ)), (16, 10));
        assert_eq!((HIHELLO.chars().count(), distinct(HIHELLO)), (7, 5));
    }

    #[test]
    fn vocabulary_is_sorted() {
        let vocabulary = Vocabulary::from_text("hihello");
        assert_eq!(vocabulary.chars(), ['e', 'h', 'i', 'l', 'o']);
        assert_eq!(vocabulary.encode("hello"), Ok(vec![1, 0, 3, 3, 4]));
        assert_eq!(vocabulary.decode(&[1, 2, -1, 5]), "hi\u{FFFD}\u{FFFD}");
        assert!(Vocabulary::from_text("").is_empty());
    }

    #[test]
    fn unknown_characters_are_named() {
        let unknown = Vocabulary::from_text("größe").encode("groß\n").unwrap_err();
        assert_eq!(unknown, UnknownChar { character: 'o', position: 3 });
        assert_eq!(unknown.to_string(), "character 3, 'o', is not in the vocabulary");
    }

    #[test]
    fn a_loaded_vocabulary_is_checked() {
        for bad in ["", "aa", "ba", "abdc"] {
            assert!(Vocabulary::from_chars(bad.chars()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn windows_overlap() {
        let windows = Windows::new(&[1, 2, 3, 4, 5], 3).unwrap();
        assert_eq!((windows.batch, windows.time), (2, 3));
        assert_eq!(windows.inputs, [1, 2, 3, 2, 3, 4]);
        assert_eq!(windows.targets, [2, 3, 4, 3, 4, 5]);
        for (tokens, time) in [(0, 0), (5, 0), (0, 1), (3, 3), (3, usize::MAX)] {
            assert!(Windows::new(&vec![0; tokens], time).is_err(), "{tokens} tokens, windows of {time}");
        }
    }

    #[test]
    fn streams_run_side_by_side_and_start_over() {
        let tokens: Vec<i32> = (0..13).collect();
        let mut streams = Streams::new(&tokens, 2, 2).unwrap(); // 0..6 and 6..12
        for _ in 0..2 {
            let first = Chunk { inputs: &[0, 6, 1, 7], targets: &[1, 7, 2, 8], starts_over: true };
            let second = Chunk { inputs: &[2, 8, 3, 9], targets: &[3, 9, 4, 10], starts_over: false };
            assert_eq!(streams.next_chunk(), first);
            assert_eq!(streams.next_chunk(), second);
        }
    }

    #[test]
    fn streams_refuse_what_does_not_fit() {
        for (batch, sequence) in [(0, 1), (1, 0), (1, 8), (2, 4), (9, 1), (usize::MAX, 1), (1, usize::MAX)] {
            assert!(Streams::new(&[0; 8], batch, sequence).is_err(), "{batch} x {sequence}");
        }
        for (batch, sequence) in [(1, 7), (2, 3), (4, 1)] {
            assert_eq!(Streams::new(&[0; 8], batch, sequence).unwrap().chunks(), 1);
        }
    }

    #[test]
    fn splits_off_the_end() {
        let tokens: Vec<i32> = (0..19).collect();
        assert_eq!(split(&tokens, HELD_OUT), (&tokens[..18], &tokens[18..]));
        assert_eq!(split(&tokens, 0.0).1.len(), 0);
        assert_eq!(split(&tokens, 2.0).0.len(), 0);
    }

    #[test]
    fn fit_shrinks_the_batch_first() {
        assert_eq!(fit(20_800, 32, 64), Some((32, 64)));
        assert_eq!(fit(20_799, 32, 64), Some((16, 64)));
        assert_eq!(fit(180, 32, 64), Some((1, 16)));
        assert_eq!(fit(20, 32, 64), Some((1, 1)));
        assert_eq!(fit(19, 32, 64), None);
        assert_eq!(fit(0, usize::MAX, usize::MAX), None);
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in any::<String>()) {
            let vocabulary = Vocabulary::from_text(&text);
            prop_assert_eq!(vocabulary.decode(&vocabulary.encode(&text).unwrap()), text);
            let again = Vocabulary::from_chars(vocabulary.chars().iter().copied());
            prop_assert_eq!(again.is_ok(), !vocabulary.is_empty());
        }

        /// Token = position, so that the places in the text can be read from a chunk.
        #[test]
        fn a_pass_predicts_each_place_once_and_in_order(
            batch in 1usize..6, sequence in 1usize..6, len in 0usize..40, rest in 0usize..6,
        ) {
            let len = sequence + 1 + len;
            let tokens: Vec<i32> = (0..(batch * len + rest % batch) as i32).collect();
            let mut streams = Streams::new(&tokens, batch, sequence).unwrap();
            prop_assert_eq!(streams.pass().len(), (len - 1) / sequence);

            for (index, chunk) in streams.clone().pass().enumerate() {
                prop_assert_eq!(chunk, streams.next_chunk());
                prop_assert_eq!(chunk.starts_over, index == 0);
                prop_assert_eq!((chunk.inputs.len(), chunk.targets.len()), (batch * sequence, batch * sequence));
                for (i, (&input, &target)) in chunk.inputs.iter().zip(chunk.targets).enumerate() {
                    let (t, b) = (index * sequence + i / batch, i % batch);
                    prop_assert_eq!((input, target), ((b * len + t) as i32, (b * len + t + 1) as i32));
                }
            }
            prop_assert!(streams.next_chunk().starts_over);
        }

        #[test]
        fn both_parts_hold_what_fits(tokens in 0usize..5_000, batch in 1usize..100, sequence in 1usize..200) {
            let text = vec![0; tokens];
            let (train, validation) = split(&text, HELD_OUT);
            let Some((b, s)) = fit(tokens, batch, sequence) else {
                prop_assert!(Streams::new(validation, 1, 1).is_err());
                return Ok(());
            };
            prop_assert!(Streams::new(train, b, s).is_ok() && Streams::new(validation, b, s).is_ok());
            let kept = (b, s) == (batch, sequence);
            prop_assert_eq!(kept, Streams::new(validation, batch, sequence).is_ok());
        }
    }
}
