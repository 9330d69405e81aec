//! Where a text's bytes come from: a file that is read piece by piece, or memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::files::{open, unreadable};

/// The most bytes that are read of a pipe or a device, which is held in memory: 1 GiB.
pub const MAX_BYTES: u64 = 1 << 30;

/// Bytes that can be read from any place.
pub(super) struct Source {
    /// The path that errors name; empty for a text of the program itself.
    path: PathBuf,
    data: Data,
}

enum Data {
    Memory(Vec<u8>),
    File {
        file: File,
        /// The length when it was opened: of a file that grows no more is read.
        bytes: u64,
        /// The time of modification at which the contents were last known to be the same.
        modified: Mutex<Option<SystemTime>>,
    },
}

impl Source {
    pub(super) fn from_text(text: &str) -> Self {
        Source { path: PathBuf::new(), data: Data::Memory(text.as_bytes().to_vec()) }
    }

    pub(super) fn open(path: &Path) -> Result<Self> {
        let unreadable = |e: io::Error| unreadable(path, &e);
        let (file, _) = open(path, "text file")?;
        let metadata = file.metadata().map_err(unreadable)?;
        // A device or a pipe has no length, nor has a file that the system makes up, such as those in /proc.
        let data = if metadata.is_file() && metadata.len() > 0 {
            Data::File { file, bytes: metadata.len(), modified: Mutex::new(metadata.modified().ok()) }
        } else {
            let mut bytes = Vec::new();
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
            if bytes.len() as u64 > MAX_BYTES {
                let message = format!(
                    "has more than {MAX_BYTES} bytes (1 GiB), the most that is read of a pipe or a device: \
                     make it a file"
                );
                return Err(Error::data(path, message));
            }
            Data::Memory(bytes)
        };
        Ok(Source { path: path.to_owned(), data })
    }

    /// Reads from `offset` on until `buffer` is full or the source ends. Returns the number of bytes that were read.
    pub(super) fn fill(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let (file, bytes) = match &self.data {
            Data::Memory(bytes) => {
                let mut rest = &bytes[bytes.len().min(offset as usize)..];
                return Ok(rest.read(buffer).expect("memory can be read"));
            }
            Data::File { file, bytes, .. } => (file, *bytes),
        };
        let wanted = bytes.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut filled = 0;
        while filled < wanted {
            match read_at(file, &mut buffer[filled..wanted], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.error(format!("cannot be read: {e}"))),
            }
        }
        Ok(filled)
    }

    /// An error unless the contents are what they were when it was opened. Where the file has another time of
    /// modification, `is_same` reads it and decides.
    pub(super) fn check_unchanged(&self, is_same: impl FnOnce() -> Result<bool>) -> Result<()> {
        let Data::File { file, bytes, modified } = &self.data else { return Ok(()) };
        let metadata = file.metadata().map_err(|e| self.error(format!("cannot be read: {e}")))?;
        let mut known = modified.lock().expect("no thread panics while it holds the lock");
        let now = metadata.modified().ok();
        if metadata.len() != *bytes || (now != *known && !is_same()?) {
            return Err(self.changed());
        }
        *known = now;
        Ok(())
    }

    /// The error for a file that is no longer what it was when it was opened.
    pub(super) fn changed(&self) -> Error {
        self.error("changed while it was read: begin again, with a copy that stays as it is")
    }

    pub(super) fn error(&self, message: impl ToString) -> Error {
        Error::data(&self.path, message)
    }
}

#[cfg(not(windows))]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}
