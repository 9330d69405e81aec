//! The lines and the records of a CSV file, one after the other. Only one record is in memory at a time, however long the
//! file is.

use std::io::{BufRead, ErrorKind};
use std::mem;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::data::{UTF16, is_utf16};

/// The most bytes of a record, and so of a line.
pub(super) const MAX_RECORD: usize = 1 << 20;

/// The most fields of a record: no model has more inputs.
pub(super) const MAX_FIELDS: usize = 1 << 16;

/// The lines of a file, without line ends (LF, CR or CRLF) and without a byte order mark. After an error it gives nothing more.
pub(super) struct Lines<R> {
    input: R,
    /// The number of the line that was given last.
    number: u64,
    /// Whether the last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    done: bool,
}

impl<R: BufRead> Lines<R> {
    pub fn new(input: R) -> Self {
        Self { input, number: 0, after_cr: false, done: false }
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let (mut line, number) = (Vec::new(), self.number);
        loop {
            let bytes = match self.input.fill_buf() {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                bytes => bytes.map_err(|e| format!("cannot be read: {e}"))?,
            };
            let Some(&first) = bytes.first() else { return Ok(Some(line).filter(|line| !line.is_empty())) };
            if mem::take(&mut self.after_cr) && first == b'\n' {
                self.input.consume(1);
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if line.len() + part.len() > MAX_RECORD {
                let message = "is longer than 1 MiB: the file is no CSV, or has no line ends";
                return Err(format!("line {number} {message}"));
            }
            line.extend_from_slice(part);
            if number == 1 && is_utf16(&line) {
                return Err(UTF16.into());
            }
            if part.contains(&0) {
                return Err(format!(
                    "line {number} holds a NUL byte: the file is no text, or not saved as UTF-8"
                ));
            }
            self.after_cr = end.is_some_and(|end| bytes[end] == b'\r');
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(line));
            }
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Vec<u8>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        self.number += 1;
        let mut line = self.line();
        self.done = !matches!(line, Ok(Some(_)));
        if let Ok(Some(line)) = &mut line
            && self.number == 1
            && line.starts_with(b"\xEF\xBB\xBF")
        {
            line.drain(..3);
        }
        line.transpose()
    }
}

/// One row of a file: its fields without quotes.
#[derive(Default)]
pub(super) struct Record {
    /// The line on which it begins, counted from 1.
    pub line: u64,
    /// The fields, one after the other; behind them is unused room.
    bytes: Vec<u8>,
    /// Where each field ends in `bytes`; behind that is unused room.
    ends: Vec<usize>,
    /// How many fields there are.
    len: usize,
}

impl Record {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn field(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index)..self.ends[..self.len][index]]
    }

    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len).map(|index| self.field(index))
    }

    /// The line on which a field begins: quoted fields before it may hold line ends.
    pub fn line_of(&self, index: usize) -> u64 {
        self.line + self.bytes[..self.start(index)].iter().filter(|&&byte| byte == b'\n').count() as u64
    }

    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.ends[index - 1] }
    }
}

/// The records in lines, without blank lines and lines that begin with `#`.
pub(super) struct Records<I> {
    lines: I,
    parser: Reader,
    /// The number of the line that was read last.
    line: u64,
    /// The comment on the line before the record that was given last, if there is one: it may name the columns.
    pub comment: Option<Vec<u8>>,
}

impl<I: Iterator<Item = Result<Vec<u8>, String>>> Records<I> {
    pub fn new(lines: I, delimiter: u8) -> Self {
        Self { lines, parser: ReaderBuilder::new().delimiter(delimiter).build(), line: 0, comment: None }
    }

    /// Reads the next record, or says that there is none.
    pub fn next(&mut self, record: &mut Record) -> Result<bool, String> {
        record.len = 0;
        self.comment = None;
        loop {
            let Some(line) = self.lines.next() else { return Ok(false) };
            let line = line?;
            self.line += 1;
            if line.starts_with(b"#") {
                self.comment = Some(line);
            } else if line.trim_ascii().is_empty() {
                self.comment = None;
            } else {
                record.line = self.line;
                return self.parse(line, record).map(|()| true);
            }
        }
    }

    /// The record that begins with `line` and ends with the first line end that is not quoted.
    fn parse(&mut self, mut line: Vec<u8>, record: &mut Record) -> Result<(), String> {
        let (mut read, mut written, mut opened) = (0, 0, self.line);
        loop {
            read += line.len();
            if read > MAX_RECORD {
                return Err(format!(
                    "line {opened}: a quote (\") is opened here and not closed within 1 MiB"
                ));
            }
            line.push(b'\n');
            // There is room for all that the line can hold, so that the parser does not stop before its end.
            make_room(&mut record.bytes, written + line.len() + 1);
            make_room(&mut record.ends, (record.len + line.len() + 1).min(MAX_FIELDS));
            let (bytes, ends) = (&mut record.bytes[written..], &mut record.ends[record.len..]);
            let (result, _, bytes, ends) = self.parser.read_record(&line, bytes, ends);
            written += bytes;
            record.len += ends;
            match result {
                ReadRecordResult::Record => return Ok(()),
                ReadRecordResult::OutputEndsFull => {
                    let line = record.line;
                    return Err(format!("line {line} has more than {MAX_FIELDS} fields, the most of a row"));
                }
                _ => {}
            }
            if ends > 0 {
                opened = self.line; // what was open on the line before ended on this one
            }
            let Some(next) = self.lines.next() else {
                return Err(format!("line {opened}: a quote (\") is opened here and not closed"));
            };
            line = next?;
            self.line += 1;
        }
    }
}

/// Makes `values` at least `len` long.
fn make_room<T: Clone + Default>(values: &mut Vec<T>, len: usize) {
    if values.len() < len {
        values.resize(len, T::default());
    }
}
