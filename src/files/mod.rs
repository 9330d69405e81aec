//! Files that are read within limits and replaced only by whole ones.

pub(crate) mod json;
pub(crate) mod tensors;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Writes files so that at every moment either the old or the new one is there, whole. Where one of them cannot be written,
/// none is.
pub(crate) fn write_whole(files: &[(&Path, &[u8])]) -> Result<()> {
    let written = files.iter().map(|(path, bytes)| {
        let mut file = NewFile::create(path)?;
        file.write(bytes)?;
        file.complete()
    });
    written.collect::<Result<Vec<_>>>()?.into_iter().try_for_each(Complete::keep)
}

/// A file that is being written, in the folder where it will be. Dropped, it leaves what was there.
pub(crate) struct NewFile<'a> {
    path: &'a Path,
    file: NamedTempFile,
}

impl<'a> NewFile<'a> {
    pub fn create(path: &'a Path) -> Result<NewFile<'a>> {
        let file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder(path));
        // By its kind alone, for the full error names the temporary file.
        let file = file.map_err(|error| unwritable(path, &error.kind().into()))?;
        Ok(NewFile { path, file })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.as_file_mut().write_all(bytes).map_err(|error| unwritable(self.path, &error))
    }

    /// Waits until all of it is safe on the disk.
    pub fn complete(self) -> Result<Complete<'a>> {
        let safe = || {
            #[cfg(unix)]
            {
                // Temporary files are made for their owner alone; a model is a file like any other.
                use std::os::unix::fs::PermissionsExt;
                self.file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
            }
            self.file.as_file().sync_all()
        };
        safe().map_err(|error| unwritable(self.path, &error))?;
        Ok(Complete(self))
    }
}

/// A whole [`NewFile`], still without its name.
pub(crate) struct Complete<'a>(NewFile<'a>);

impl Complete<'_> {
    /// Gives it its name, in place of a file that has it.
    pub fn keep(self) -> Result<()> {
        let NewFile { path, file } = self.0;
        file.persist(path).map_err(|error| unwritable(path, &error.error))?;
        sync_folder(path).map_err(|error| unwritable(path, &error))
    }
}

/// An error unless a file can be written there.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::data(path, "is a folder, not a file"));
    }
    let beside = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder(path));
    beside.map(drop).map_err(|error| unwritable(path, &io::Error::from(error.kind())))
}

/// The error of a file that cannot be written.
pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Error {
    let folder = folder(path);
    match error.kind() {
        ErrorKind::NotFound if !folder.exists() => {
            Error::data(path, format!("cannot be written: there is no folder {}", folder.display()))
        }
        _ => Error::data(path, format!("cannot be written: {error}")),
    }
}

/// A rename, or a removal, is safe only once the folder is.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder(path)).and_then(|folder| folder.sync_all()),
        false => Ok(()),
    }
}

/// How the name of a file begins that is not whole yet.
const PARTIAL: &str = ".bptt-";

/// Whether a file of this name is one that was being written when its process was killed, provided that nobody writes it now.
pub(crate) fn is_cut_off(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PARTIAL))
}

/// Removes what is left in a folder of files that were being written when the process was killed. Nobody may be writing
/// there now.
pub(crate) fn remove_cut_off(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_cut_off(&entry.file_name()) {
            // It is only in the way.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The file, open for reading, and its length in bytes, 0 for a pipe. `kind` is what it should be: "text file".
pub(crate) fn open(path: &Path, kind: &str) -> Result<(File, u64)> {
    let metadata = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?;
    if metadata.is_dir() {
        return Err(Error::data(path, format!("is a folder, not a {kind}")));
    }
    Ok((File::open(path).map_err(|e| unreadable(path, &e))?, metadata.len()))
}

/// The error of a file that cannot be opened or read.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::data(path, "no such file"),
        _ => Error::data(path, format!("cannot be read: {error}")),
    }
}

/// The contents of a file, which has at most so many bytes.
pub(crate) fn read_whole(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        // Room for all of it at once, if the length is true: a vector that grows doubles its room on the way.
        let length = file.metadata()?.len().min(most) as usize;
        bytes.try_reserve_exact(length + 1)?;
        file.take(most + 1).read_to_end(&mut bytes)
    });
    read.map_err(|error| unreadable(path, &error))?;
    match bytes.len() as u64 <= most {
        true => Ok(bytes),
        false => Err(Error::data(path, format!("has more than {most} bytes, the most that can be read"))),
    }
}
