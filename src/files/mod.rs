//! Files that are read within limits and replaced only by whole ones.

pub(crate) mod json;
mod named;
pub(crate) mod tensors;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};
pub(crate) use named::is_stream;
use named::{Destination, followed};

/// Writes files so that at every moment either the old or the new one is there, whole. Where one of them cannot be written,
/// none is. A link is replaced and not followed: these are files of a folder that may have come from somebody else.
pub(crate) fn write_whole(files: &[(&Path, &[u8])]) -> Result<()> {
    let written = files.iter().map(|(path, bytes)| written(NewFile::create(path)?, bytes));
    written.collect::<Result<Vec<_>>>()?.into_iter().try_for_each(Complete::keep)
}

/// Writes a file that the user named, in the same way. A link is followed; into a device or a pipe is written.
pub(crate) fn write_named(path: &Path, bytes: &[u8]) -> Result<()> {
    written(NewFile::named(path)?, bytes)?.keep()
}

fn written<'a>(mut file: NewFile<'a>, bytes: &[u8]) -> Result<Complete<'a>> {
    file.write(bytes)?;
    file.complete()
}

/// A file that is being written, in the folder where it will be. Dropped, it leaves what was there.
pub(crate) struct NewFile<'a> {
    path: &'a Path,
    to: To,
}

enum To {
    /// A file that takes this name once it is whole.
    Beside(NamedTempFile, PathBuf),
    /// A device or a pipe.
    Stream(File),
}

impl<'a> NewFile<'a> {
    /// One that replaces what has its name, be it a link.
    pub fn create(path: &'a Path) -> Result<NewFile<'a>> {
        Ok(NewFile { path, to: To::Beside(beside(path, path)?, path.to_owned()) })
    }

    /// One that the user named: see [`write_named`].
    pub fn named(path: &'a Path) -> Result<NewFile<'a>> {
        let to = match Destination::of(path).map_err(|error| unwritable(path, &error))? {
            Destination::File(name) => To::Beside(beside(path, &name)?, name),
            Destination::Stream(stream) => To::Stream(stream),
        };
        Ok(NewFile { path, to })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let file = match &mut self.to {
            To::Beside(file, _) => file.as_file_mut(),
            To::Stream(stream) => stream,
        };
        file.write_all(bytes).map_err(|error| unwritable(self.path, &error))
    }

    /// Waits until all of it is safe on the disk.
    pub fn complete(self) -> Result<Complete<'a>> {
        let safe = |file: &File| {
            #[cfg(unix)]
            {
                // Temporary files are made for their owner alone; a model is a file like any other.
                use std::os::unix::fs::PermissionsExt;
                file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
            }
            file.sync_all()
        };
        if let To::Beside(file, _) = &self.to {
            safe(file.as_file()).map_err(|error| unwritable(self.path, &error))?;
        }
        Ok(Complete(self))
    }
}

/// A whole [`NewFile`], still without its name.
pub(crate) struct Complete<'a>(NewFile<'a>);

impl Complete<'_> {
    /// Gives it its name, in place of a file that has it.
    pub fn keep(self) -> Result<()> {
        let NewFile { path, to } = self.0;
        let To::Beside(file, name) = to else { return Ok(()) };
        file.persist(&name).map_err(|error| unwritable(path, &error.error))?;
        sync_folder(&name).map_err(|error| unwritable(path, &error))
    }
}

/// An error unless a file can be written there.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::data(path, "is a folder, not a file"));
    }
    if is_stream(path) { Ok(()) } else { beside(path, &followed(path)).map(drop) }
}

/// A new file in the folder of `name`, for what the user knows as `path`.
fn beside(path: &Path, name: &Path) -> Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder(name));
    file.map_err(|error| match error.kind() {
        ErrorKind::NotFound => no_folder(path, folder(name)),
        // By its kind alone, for the full error names the temporary file.
        kind => unwritable(path, &kind.into()),
    })
}

/// The error of a file that cannot be written.
pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Error {
    let folder = folder(path);
    match error.kind() {
        ErrorKind::NotFound if !folder.exists() => no_folder(path, folder),
        _ => Error::data(path, format!("cannot be written: {error}")),
    }
}

fn no_folder(path: &Path, folder: &Path) -> Error {
    Error::data(path, format!("cannot be written: there is no folder {}", folder.display()))
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
