//! The metrics of each step, written as JSON lines and as CSV, and read again.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};
use crate::files::{open, unreadable, unwritable};

/// The files.
pub(crate) const FILES: [&str; 2] = ["metrics.jsonl", "metrics.csv"];

const HEAD: &str = "step,loss,lr,grad_norm,validation_loss,loss_scale,overflowed\n";

/// The metrics of a step; a line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The step, from 1.
    pub step: u64,
    /// The loss before its update; one that is not finite is NaN, in JSON null: the step was left out.
    #[serde(deserialize_with = "or_nan")]
    pub loss: f32,
    /// The learning rate of the update.
    pub lr: f64,
    /// The norm of the gradient, before it is clipped; none where it is not finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f32>,
    /// The loss on held-out data after the update, where it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// The loss scale after the step, in f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f32>,
    /// Steps that were left out so far as the loss scale was too large for their gradients, in f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflowed: Option<u32>,
}

/// A number, or NaN for null: JSON has no other numbers.
fn or_nan<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f32::NAN))
}

impl Row {
    fn csv(&self) -> String {
        fn or_empty<T: ToString>(value: Option<T>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        let Row { step, loss, lr, grad_norm, validation_loss, loss_scale, overflowed } = self;
        let [grad_norm, loss_scale] = [grad_norm, loss_scale].map(|value| or_empty(*value));
        let (validation_loss, overflowed) = (or_empty(*validation_loss), or_empty(*overflowed));
        format!("{step},{loss},{lr},{grad_norm},{validation_loss},{loss_scale},{overflowed}\n")
    }
}

/// The two files of metrics of a run that is trained. Rows are collected, and written when about a second has passed.
#[derive(Debug)]
pub(crate) struct Metrics {
    paths: [PathBuf; 2],
    /// Opened with the first write.
    files: Option<[File; 2]>,
    /// For each file, what is not written yet.
    text: [Vec<u8>; 2],
    /// For each file, the bytes that count: those in the file and those in `text`.
    pub bytes: [u64; 2],
    /// The last row: a validation may complete it.
    pub last: Option<Row>,
    written: Instant,
}

/// How long rows may wait.
const DELAY: Duration = Duration::from_secs(1);

impl Metrics {
    /// The metrics of a run that begins. The first write replaces what the files hold.
    pub fn new(folder: &Path) -> Metrics {
        let text = [Vec::new(), HEAD.as_bytes().to_vec()];
        Metrics {
            paths: FILES.map(|name| folder.join(name)),
            files: None,
            bytes: [0, HEAD.len() as u64],
            text,
            last: None,
            written: Instant::now(),
        }
    }

    /// Goes on as a checkpoint says: behind so many bytes of each file, and with this last row. Gives a note for each file that
    /// has fewer: training can go on without the lost rows.
    ///
    /// # Errors
    /// [`Error::Data`] when a file cannot be read.
    pub fn go_on(&mut self, bytes: [u64; 2], last: Option<Row>) -> Result<Vec<String>> {
        let mut lost = Vec::new();
        for (k, path) in self.paths.iter().enumerate() {
            let kept = whole_lines(path, bytes[k]).map_err(|error| unreadable(path, &error))?;
            if kept != bytes[k] {
                let (path, bytes) = (path.display(), bytes[k]);
                lost.push(format!(
                    "{path}: has {kept} of {bytes} bytes: going on without the rows that were lost"
                ));
            }
            if kept > 0 {
                self.text[k].clear();
            }
            self.bytes[k] = kept + self.text[k].len() as u64;
        }
        self.last = last;
        Ok(lost)
    }

    /// The next row.
    pub fn push(&mut self, row: Row) {
        if let Some(row) = self.last.replace(row) {
            self.append(&row);
        }
    }

    /// Writes what has waited long enough.
    pub fn write_due(&mut self) -> Result<()> {
        if self.written.elapsed() > DELAY { self.write() } else { Ok(()) }
    }

    /// Writes everything but the last row.
    pub fn save(&mut self) -> Result<()> {
        self.write()?;
        let files = self.files.as_ref().expect("just written");
        for (file, path) in files.iter().zip(&self.paths) {
            file.sync_data().map_err(|error| unwritable(path, &error))?;
        }
        Ok(())
    }

    /// Writes the last row too: nothing will complete it.
    pub fn end(&mut self) -> Result<()> {
        if let Some(row) = self.last.take() {
            self.append(&row);
        }
        self.save()
    }

    fn append(&mut self, row: &Row) {
        let json = serde_json::to_string(row).expect("a row is plain numbers") + "\n";
        for (k, line) in [json, row.csv()].into_iter().enumerate() {
            self.text[k].extend_from_slice(line.as_bytes());
            self.bytes[k] += line.len() as u64;
        }
    }

    fn write(&mut self) -> Result<()> {
        if self.files.is_none() {
            let open = |k: usize| {
                let path = &self.paths[k];
                open_behind(path, self.bytes[k] - self.text[k].len() as u64)
                    .map_err(|error| unwritable(path, &error))
            };
            self.files = Some([open(0)?, open(1)?]);
        }
        let files = self.files.as_mut().expect("just opened");
        for ((file, text), path) in files.iter_mut().zip(&mut self.text).zip(&self.paths) {
            file.write_all(text).map_err(|error| unwritable(path, &error))?;
            text.clear();
        }
        self.written = Instant::now();
        Ok(())
    }
}

/// More than the bytes of any row.
const LONGEST: u64 = 1 << 12;

/// How many of the first `most` bytes of a file are whole lines; 0 where there is no file.
fn whole_lines(path: &Path, most: u64) -> io::Result<u64> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let end = file.metadata()?.len().min(most);
    let start = file.seek(SeekFrom::Start(end.saturating_sub(LONGEST)))?;
    let mut tail = Vec::new();
    file.take(end - start).read_to_end(&mut tail)?;
    Ok(tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| start + at as u64 + 1))
}

/// A file, to be written behind so many bytes. What is behind them now is cut off: those steps will be done again.
fn open_behind(path: &Path, bytes: u64) -> io::Result<File> {
    let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.set_len(bytes)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

/// The fewest bytes of a row.
const SHORTEST: u64 = 27;

/// The rows of a run, read one after the other. A last line that is not whole is being written, or was when the process was
/// killed.
///
/// # Errors
/// [`Error::Data`] names the line that is no row.
pub(crate) fn read(folder: &Path) -> Result<Vec<Row>> {
    let path = folder.join(FILES[0]);
    let (file, length) = open(&path, "file of metrics")?;
    let (mut file, mut line) = (BufReader::new(file), Vec::new());
    // Room for all rows at once: a vector that grows holds them twice for the moment.
    let mut rows = Vec::with_capacity((length / SHORTEST) as usize);
    loop {
        line.clear();
        let read = (&mut file).take(LONGEST).read_until(b'\n', &mut line);
        read.map_err(|error| unreadable(&path, &error))?;
        let whole = line.pop_if(|byte| *byte == b'\n').is_some();
        if line.is_empty() || !whole && (line.len() as u64) < LONGEST {
            return Ok(rows);
        }
        let row = serde_json::from_slice(&line).map_err(|error| {
            Error::data(&path, format!("line {}: is no row of metrics: {error}", rows.len() + 1))
        })?;
        rows.push(row);
    }
}
