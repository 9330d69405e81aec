//! What is known of each step, as JSON lines and as CSV.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::{read_whole, unwritable};

/// The files.
pub(crate) const FILES: [&str; 2] = ["metrics.jsonl", "metrics.csv"];

const HEAD: &str = "step,loss,lr,grad_norm,validation_loss\n";

/// The metrics of a step; a line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The step, from 1.
    pub step: u64,
    /// The loss before its update.
    pub loss: f32,
    /// The learning rate of the update.
    pub lr: f64,
    /// The norm of the gradient, where it is clipped: before clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f32>,
    /// The loss on held-out data after the update, where it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
}

impl Row {
    fn csv(&self) -> String {
        fn or_empty<T: ToString>(value: Option<T>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        let Row { step, loss, lr, grad_norm, validation_loss } = self;
        format!("{step},{loss},{lr},{},{}\n", or_empty(*grad_norm), or_empty(*validation_loss))
    }
}

/// The two files of a run, while it is trained. Rows are collected, and written at the latest a second later.
#[derive(Debug)]
pub(crate) struct Metrics {
    paths: [PathBuf; 2],
    /// Opened with the first write.
    files: Option<[File; 2]>,
    /// What is not written yet.
    text: [Vec<u8>; 2],
    /// Bytes in the files and in `text`.
    pub bytes: [u64; 2],
    /// The last row: a validation may complete it.
    pub last: Option<Row>,
    written: Instant,
}

/// How long rows may wait.
const DELAY: Duration = Duration::from_secs(1);

impl Metrics {
    /// Of a run that begins: what the files hold is replaced with the first write.
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

    /// Goes on behind so many bytes, and with a last row.
    ///
    /// # Errors
    /// [`Error::Data`] when a file is shorter, or cannot be written.
    pub fn go_on(&mut self, bytes: [u64; 2], last: Option<Row>) -> Result<()> {
        let open = |(path, bytes): (&PathBuf, u64)| {
            let failed = |error: io::Error| unwritable(path, &error);
            let mut file = File::options().write(true).open(path).map_err(failed)?;
            let found = file.metadata().map_err(failed)?.len();
            if found < bytes {
                let message = format!("has {found} bytes, but {bytes} belong to the checkpoint: rows were lost");
                return Err(Error::data(path, message));
            }
            file.set_len(bytes).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
            Ok(file)
        };
        let [json, csv] = &self.paths;
        self.files = Some([open((json, bytes[0]))?, open((csv, bytes[1]))?]);
        (self.bytes, self.last) = (bytes, last);
        self.text = [Vec::new(), Vec::new()];
        Ok(())
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
            let [json, csv] = &self.paths;
            let create = |path: &PathBuf| File::create(path).map_err(|error| unwritable(path, &error));
            self.files = Some([create(json)?, create(csv)?]);
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

/// The longest `metrics.jsonl` that is read.
const MAX_BYTES: u64 = 1 << 32;

/// The rows of a run. A last line that is not whole is being written, or was when the process was killed.
///
/// # Errors
/// [`Error::Data`] names the line that is no row.
pub(crate) fn read(folder: &Path) -> Result<Vec<Row>> {
    let path = folder.join(FILES[0]);
    let bytes = read_whole(&path, MAX_BYTES)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = bytes[..whole].split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
    lines
        .zip(1..)
        .map(|(line, number)| {
            let bad = |error| Error::data(&path, format!("line {number}: is no row of metrics: {error}"));
            serde_json::from_slice(line).map_err(bad)
        })
        .collect()
}
