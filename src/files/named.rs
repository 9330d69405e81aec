//! Files that the user names. The name may be a link, whose file is replaced and not the link; or a device, a pipe or the
//! process's own output, into which is written, because nothing can take its place.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::folder;

/// What is written to at a path.
pub(super) enum Destination {
    /// A regular file of this name, which may not be there yet.
    File(PathBuf),
    /// Something that takes bytes one after the other.
    Stream(File),
}

impl Destination {
    pub fn of(path: &Path) -> io::Result<Destination> {
        match fs::metadata(path) {
            Ok(found) => match own_output(&found)? {
                Some(output) => Ok(Destination::Stream(output)),
                None if found.is_file() || found.is_dir() => Ok(Destination::File(followed(path))),
                None => File::options().write(true).open(path).map(Destination::Stream),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Destination::File(followed(path))),
            Err(error) => Err(error.kind().into()),
        }
    }
}

/// Whether what is written to a path is added to what was written before: to a device, a pipe, or the process's own output,
/// be that a file.
pub(crate) fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| {
        !(found.is_file() || found.is_dir()) || own_output(&found).is_ok_and(|output| output.is_some())
    })
}

/// The most links that the system follows.
const MOST_LINKS: usize = 40;

/// The path that links lead to, also where nothing is there yet.
pub(super) fn followed(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = folder(&path).join(target),
            Err(_) => break,
        }
    }
    path
}

/// Standard output or standard error, if it is what was found at a path. Both then write at the same place of a file: opened
/// by its path, it would be written from its begin on.
#[cfg(unix)]
fn own_output(found: &Metadata) -> io::Result<Option<File>> {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    for open in [io::stdout().as_fd().try_clone_to_owned(), io::stderr().as_fd().try_clone_to_owned()] {
        let open = File::from(open?);
        let data = open.metadata()?;
        if (data.dev(), data.ino()) == (found.dev(), found.ino()) {
            return Ok(Some(open));
        }
    }
    Ok(None)
}

#[cfg(not(unix))]
fn own_output(_: &Metadata) -> io::Result<Option<File>> {
    Ok(None)
}
