//! A text as contiguous streams, read side by side and chunk by chunk.

use std::fmt;
use std::ops::Range;

use super::Text;
use super::reader::Reader;
use super::split::holds;
use crate::error::{Error, Result};

/// A part of a text as `batch` contiguous streams that are read side by side in chunks of `sequence` steps: the batches
/// of truncated backpropagation through time, where each stream's hidden state is carried from chunk to chunk.
///
/// Stream `b` holds the tokens from `b * len` on, where `len = tokens / batch`. What remains at the end of the text, and
/// behind the last whole chunk of each stream, is left out. So all chunks have one shape, and no token is predicted twice
/// in a pass. Only one chunk, and a small buffer for each stream, is in memory.
pub struct Streams {
    text: Text,
    sequence: usize,
    /// The first token of the first stream.
    first: usize,
    /// Tokens of a stream.
    len: usize,
    /// The offset in the file at which each stream begins.
    starts: Vec<u64>,
    readers: Vec<Reader>,
    /// The last chunk and one row more, `[sequence + 1, batch]`: the targets are the inputs, shifted by one row.
    rows: Vec<i32>,
    /// The chunk that [`next_chunk`](Streams::next_chunk) gives next.
    next: usize,
    /// Whether that chunk follows the one in `rows`, and so begins where the readers stand.
    goes_on: bool,
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

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (batch, sequence, chunks) = (self.batch(), self.sequence, self.chunks());
        write!(f, "Streams {{ batch: {batch}, sequence: {sequence}, chunk: {} of {chunks} }}", self.next)
    }
}

impl Text {
    /// The `tokens` of the text, counted from 0, as `batch` streams; nothing of their contents is read yet.
    ///
    /// # Errors
    /// [`Error::Argument`] where `tokens` lie outside the text, `batch` or `sequence` is 0 or a stream is shorter than
    /// `sequence + 1` tokens; [`fit`](super::fit) finds a batch and a sequence that are not. [`Error::Data`] where the file cannot
    /// be read.
    pub fn streams(&self, tokens: Range<usize>, batch: usize, sequence: usize) -> Result<Streams> {
        let fail = |message| Err(Error::argument("streams", message));
        let unit = self.vocabulary().unit();
        if tokens.start > tokens.end || tokens.end > self.len() {
            let Range { start, end } = tokens;
            return fail(format!("{start} to {end} is no part of a text of {} {unit}", self.len()));
        }
        if batch == 0 || sequence == 0 {
            return fail(format!("batch and sequence must be at least 1, not {batch} and {sequence}"));
        }
        if !holds(tokens.len(), batch, sequence) {
            return fail(format!(
                "batch {batch} of sequence {sequence} needs {batch} x ({sequence} + 1) {unit}, but there are {}",
                tokens.len()
            ));
        }
        let len = tokens.len() / batch;
        let starts =
            (0..batch).map(|b| self.offset_of(tokens.start + b * len)).collect::<Result<Vec<u64>>>()?;
        let buffer = self.0.sizes.buffer;
        Ok(Streams {
            text: self.clone(),
            sequence,
            first: tokens.start,
            len,
            starts,
            readers: (0..batch).map(|_| Reader::new(buffer)).collect(),
            rows: vec![0; (sequence + 1) * batch],
            next: 0,
            goes_on: false,
        })
    }
}

impl Streams {
    /// How many streams there are.
    pub fn batch(&self) -> usize {
        self.readers.len()
    }

    /// How many steps a chunk has.
    pub fn sequence(&self) -> usize {
        self.sequence
    }

    /// How many chunks a pass over the text has.
    pub fn chunks(&self) -> usize {
        (self.len - 1) / self.sequence
    }

    /// The index in the pass of the chunk that [`next_chunk`](Self::next_chunk) gives next.
    pub fn position(&self) -> usize {
        self.next
    }

    /// Makes `chunk` the one that [`next_chunk`](Self::next_chunk) gives next.
    ///
    /// # Errors
    /// [`Error::Argument`] where a pass has no such chunk.
    pub fn seek(&mut self, chunk: usize) -> Result<()> {
        if chunk >= self.chunks() {
            let message = format!("there is no chunk {chunk} in a pass of {}", self.chunks());
            return Err(Error::argument("streams", message));
        }
        self.goes_on &= chunk == self.next;
        self.next = chunk;
        Ok(())
    }

    /// The chunk after the last one that was given; after the last of a pass, the first again.
    ///
    /// # Errors
    /// [`Error::Data`] where the file cannot be read or is not what it was when the [`Text`] was opened.
    pub fn next_chunk(&mut self) -> Result<Chunk<'_>> {
        let batch = self.batch();
        let size = self.sequence * batch;
        let (first_row, index) = (usize::from(self.goes_on), self.next);
        if self.goes_on {
            self.rows.copy_within(size.., 0);
        } else {
            self.place_readers()?;
        }
        self.goes_on = false; // should there be an error
        for (b, reader) in self.readers.iter_mut().enumerate() {
            for row in self.rows.chunks_exact_mut(batch).skip(first_row) {
                row[b] = reader.token(&self.text)?;
            }
        }
        self.text.check_unchanged()?;
        self.next = (index + 1) % self.chunks();
        self.goes_on = self.next != 0;
        Ok(Chunk { inputs: &self.rows[..size], targets: &self.rows[batch..], starts_over: index == 0 })
    }

    fn place_readers(&mut self) -> Result<()> {
        for (b, reader) in self.readers.iter_mut().enumerate() {
            let offset = match self.next {
                0 => self.starts[b],
                next => self.text.offset_of(self.first + b * self.len + next * self.sequence)?,
            };
            reader.place(offset);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;
    use tempfile::NamedTempFile;

    use super::super::tests::{SMALL, file, message_about};
    use super::super::{SIZES, Sizes, Source, Unit, Vocabulary};
    use super::*;

    /// The chunks of a pass, cut from all tokens at once: inputs and targets.
    fn naive(tokens: &[i32], batch: usize, sequence: usize) -> Vec<[Vec<i32>; 2]> {
        let len = tokens.len() / batch;
        let row = |t: usize| (0..batch).map(move |b| tokens[b * len + t]);
        let rows = |from: usize| (from..from + sequence).flat_map(row).collect::<Vec<i32>>();
        let starts = (0..len).step_by(sequence).filter(|start| start + sequence < len);
        starts.map(|start| [rows(start), rows(start + 1)]).collect()
    }

    /// Checks that the next chunk is that of `expected` which `streams` says.
    fn check_next(streams: &mut Streams, expected: &[[Vec<i32>; 2]]) -> Result<(), TestCaseError> {
        let (index, chunks) = (streams.position(), streams.chunks());
        let chunk = streams.next_chunk().unwrap();
        prop_assert_eq!(chunk.inputs, expected[index][0].as_slice());
        prop_assert_eq!(chunk.targets, expected[index][1].as_slice());
        prop_assert_eq!(chunk.starts_over, index == 0);
        prop_assert_eq!(streams.position(), (index + 1) % chunks);
        Ok(())
    }

    /// Checks two passes and then the chunks `seeks`, each with the one after it.
    fn check(
        text: &Text,
        tokens: &[i32],
        range: Range<usize>,
        shape: [usize; 2],
        seeks: &[usize],
    ) -> Result<(), TestCaseError> {
        let [batch, sequence] = shape;
        let expected = naive(&tokens[range.clone()], batch, sequence);
        let Ok(mut streams) = text.streams(range, batch, sequence) else {
            prop_assert!(expected.is_empty(), "streams were refused");
            return Ok(());
        };
        prop_assert_eq!(streams.chunks(), expected.len());
        prop_assert_eq!((streams.batch(), streams.sequence(), streams.position()), (batch, sequence, 0));
        for _ in 0..2 * expected.len() {
            check_next(&mut streams, &expected)?;
        }
        for seek in seeks {
            let chunk = seek % expected.len();
            streams.seek(chunk).unwrap();
            prop_assert_eq!(streams.position(), chunk);
            check_next(&mut streams, &expected)?;
            check_next(&mut streams, &expected)?;
        }
        prop_assert!(streams.seek(expected.len()).is_err());
        Ok(())
    }

    fn sizes() -> impl Strategy<Value = Sizes> {
        let small = (4usize..20, 4usize..20, 1usize..9, 1usize..4);
        let small = small.prop_map(|(block, buffer, mark, m)| Sizes { block, buffer, mark, marks: 2 * m });
        prop_oneof![9 => small, 1 => Just(SIZES)]
    }

    fn shape() -> impl Strategy<Value = [usize; 2]> {
        [1usize..7, 1usize..9]
    }

    /// A part of `len`, from two numbers.
    fn part(len: usize, cuts: [usize; 2]) -> Range<usize> {
        let [a, b] = cuts.map(|cut| cut % (len + 1));
        a.min(b)..a.max(b)
    }

    proptest! {
        #[test]
        fn characters_are_those_of_memory(
            text in "[ab\nßäé一二三😀😅]{1,150}", mark in any::<bool>(), sizes in sizes(), shape in shape(),
            cuts in any::<[usize; 2]>(), seeks in prop::collection::vec(0usize..100, 0..10),
        ) {
            let tokens = Vocabulary::from_text(&text).encode(&text).unwrap();
            let file = file(format!("{}{text}", if mark { "\u{FEFF}" } else { "" }).as_bytes());
            let streamed = Text::read_file(file.path(), Unit::Characters, None, sizes).unwrap();
            let in_memory = Text::read(Source::from_text(&text), Unit::Characters, None, sizes).unwrap();
            prop_assert_eq!(streamed.hash(), in_memory.hash());
            for text in [streamed, in_memory] {
                check(&text, &tokens, 0..tokens.len(), shape, &seeks)?;
                check(&text, &tokens, part(tokens.len(), cuts), shape, &seeks)?;
            }
        }

        #[test]
        fn bytes_are_those_of_memory(
            bytes in prop::collection::vec(any::<u8>(), 1..200), sizes in sizes(), shape in shape(),
            cuts in any::<[usize; 2]>(), seeks in prop::collection::vec(0usize..100, 0..10),
        ) {
            let tokens: Vec<i32> = bytes.iter().copied().map(i32::from).collect();
            let text = Text::read_file(file(&bytes).path(), Unit::Bytes, None, sizes).unwrap();
            check(&text, &tokens, 0..tokens.len(), shape, &seeks)?;
            check(&text, &tokens, part(tokens.len(), cuts), shape, &seeks)?;
        }

        /// Whatever is done to a file: each chunk is right, or there is an error that says so.
        #[test]
        fn a_changed_file_is_found_out(
            text in "[abß一😀]{40,80}", at in 0usize..40, with in prop::collection::vec(any::<u8>(), 1..9),
            longer in -9i64..9, after in 0usize..5, sizes in sizes(), shape in [1usize..4, 1usize..5],
        ) {
            let file = file(text.as_bytes());
            let opened = Text::read_file(file.path(), Unit::Characters, None, sizes).unwrap();
            let tokens = opened.vocabulary().encode(&text).unwrap();
            let expected = naive(&tokens, shape[0], shape[1]);
            let mut streams = opened.streams(0..opened.len(), shape[0], shape[1]).unwrap();
            for _ in 0..after {
                check_next(&mut streams, &expected)?;
            }
            let mut bytes = text.into_bytes();
            bytes.splice(at..at + with.len(), with);
            bytes.resize(bytes.len().saturating_add_signed(longer as isize), b'a');
            overwrite(&file, &bytes, later());
            let same = Text::open(file.path(), Unit::Bytes).unwrap().hash() == opened.hash();
            for _ in 0..expected.len() {
                match streams.next_chunk() {
                    Ok(_) => prop_assert!(same),
                    Err(error) => {
                        prop_assert!(!same);
                        prop_assert_eq!(message_about(file.path(), error), CHANGED);
                    }
                }
            }
        }

    }

    const CHANGED: &str = "changed while it was read: begin again, with a copy that stays as it is";

    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(10)
    }

    /// Gives a file other contents, as of a time.
    fn overwrite(file: &NamedTempFile, bytes: &[u8], modified: SystemTime) {
        let mut out = File::create(file.path()).unwrap();
        out.write_all(bytes).unwrap();
        out.set_modified(modified).unwrap();
    }

    #[test]
    fn changes_and_what_they_do() {
        let bytes = "abcß".repeat(100).into_bytes();
        let same_length = |with: &[u8]| [&bytes[..103], with, &bytes[103 + with.len()..]].concat();
        for (what, changed, keeps_time) in [
            ("shorter", bytes[..300].to_vec(), true),
            ("longer", [&bytes[..], b"a"].concat(), true),
            ("empty", Vec::new(), true),
            ("other characters", same_length(b"bc"), false),
            ("not UTF-8", same_length(b"\xFF"), true),
            ("not in the vocabulary", same_length(b"d"), true),
            ("not in the vocabulary, of two bytes", same_length("ä".as_bytes()), true),
        ] {
            let file = file(&bytes);
            let modified = file.as_file().metadata().unwrap().modified().unwrap();
            let text = Text::read_file(file.path(), Unit::Characters, None, SMALL).unwrap();
            let mut streams = text.streams(0..400, 2, 1).unwrap();
            let unchanged: Vec<_> = (0..199).map(|_| streams.next_chunk().unwrap().inputs.to_vec()).collect();
            let read_on = |streams: &mut Streams| {
                (streams.position()..199).try_for_each(|index| {
                    assert_eq!(streams.next_chunk()?.inputs, unchanged[index], "{what}");
                    Ok(())
                })
            };
            for from in [0, 50] {
                streams.seek(from).unwrap();
                assert_eq!(streams.next_chunk().unwrap().inputs, unchanged[from]);
                overwrite(&file, &changed, if keeps_time { modified } else { later() });
                let error = read_on(&mut streams).expect_err(what);
                assert_eq!(message_about(file.path(), error), CHANGED, "{what}");
                // An error leaves nothing behind, and a file that was only touched is the same file.
                overwrite(&file, &bytes, modified);
                read_on(&mut streams).unwrap();
                overwrite(&file, &bytes, later());
                read_on(&mut streams).unwrap();
            }
        }
    }

    #[test]
    fn a_file_that_grows_is_not_read_for_ever() {
        let file = file(b"abcd");
        let source = Source::open(file.path()).unwrap();
        overwrite(&file, b"abcdefgh", later());
        let text = Text::read(source, Unit::Characters, None, SIZES).unwrap();
        assert_eq!(text.len(), 4);
        let error = text.streams(0..4, 1, 1).unwrap().next_chunk().unwrap_err();
        assert_eq!(message_about(file.path(), error), CHANGED);
    }

    #[test]
    fn a_file_may_change_between_opening_and_cutting() {
        let file = file("aß".repeat(100).as_bytes());
        let text = Text::read_file(file.path(), Unit::Characters, None, Sizes { mark: 64, ..SMALL }).unwrap();
        overwrite(&file, b"", later());
        let error = text.streams(0..200, 50, 1).unwrap_err();
        assert_eq!(message_about(file.path(), error), CHANGED);
    }

    #[test]
    fn they_run_side_by_side_and_start_over() {
        let text = Text::from_text("abcdefghijklm", Unit::Characters);
        let mut streams = text.streams(0..13, 2, 2).unwrap(); // 0..6 and 6..12
        for _ in 0..2 {
            let first = Chunk { inputs: &[0, 6, 1, 7], targets: &[1, 7, 2, 8], starts_over: true };
            let second = Chunk { inputs: &[2, 8, 3, 9], targets: &[3, 9, 4, 10], starts_over: false };
            assert_eq!(streams.next_chunk().unwrap(), first);
            assert_eq!(streams.next_chunk().unwrap(), second);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let text = Text::from_text("abcdefgh", Unit::Bytes);
        for (batch, sequence) in [(1, 8), (2, 4), (9, 1), (usize::MAX, 1), (1, usize::MAX)] {
            let message = text.streams(0..8, batch, sequence).unwrap_err().to_string();
            let says = format!(
                "batch {batch} of sequence {sequence} needs {batch} x ({sequence} + 1) bytes, but there are 8"
            );
            assert_eq!(message, format!("streams: {says}"));
        }
        for (batch, sequence) in [(1, 7), (2, 3), (4, 1)] {
            assert_eq!(text.streams(0..8, batch, sequence).unwrap().chunks(), 1);
        }
        let says = |range, batch, sequence| text.streams(range, batch, sequence).unwrap_err().to_string();
        assert_eq!(says(0..8, 0, 1), "streams: batch and sequence must be at least 1, not 0 and 1");
        assert_eq!(says(0..8, 1, 0), "streams: batch and sequence must be at least 1, not 1 and 0");
        assert_eq!(says(2..9, 1, 1), "streams: 2 to 9 is no part of a text of 8 bytes");
        #[expect(clippy::reversed_empty_ranges)]
        let reversed = says(3..2, 1, 1);
        assert_eq!(reversed, "streams: 3 to 2 is no part of a text of 8 bytes");
        let mut streams = text.streams(0..8, 1, 2).unwrap();
        let message = streams.seek(3).unwrap_err().to_string();
        assert_eq!(message, "streams: there is no chunk 3 in a pass of 3");
        assert!(Text::from_text("", Unit::Characters).streams(0..0, 1, 1).is_err());
    }

    #[test]
    fn thousands_of_streams_share_one_file() {
        let text = Text::open(file(&[b'a'; 100_000]).path(), Unit::Characters).unwrap();
        let open_files = || Path::new("/proc/self/fd").read_dir().map_or(0, Iterator::count);
        let before = open_files();
        let mut streams = text.streams(0..100_000, 10_000, 3).unwrap();
        for _ in 0..2 * streams.chunks() {
            assert!(streams.next_chunk().unwrap().targets.iter().all(|&token| token == 0));
        }
        assert!(open_files() < before + 1_000);
    }
}
