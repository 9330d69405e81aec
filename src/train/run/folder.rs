//! The folders of runs: how they are made, reused, locked, and found.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::metrics::FILES;
use super::{CHECKPOINTS, CONFIG, PLOTS, RUNS};
use crate::error::{Error, Result};
use crate::files::is_cut_off;
use crate::train::config::{ConfigFile, Experiment};
use crate::train::model::{Model, WEIGHTS};

/// The file that the process which trains holds locked.
pub(super) const LOCK: &str = "lock";

/// An error unless a folder that exists can be a run's.
pub(super) fn may_take(folder: &Path, force: bool) -> Result<()> {
    let path = folder.display();
    if folder.is_dir() && is_unused(folder) {
        return Ok(());
    }
    if !force {
        let message = format!(
            "{path} exists already; name another --out, go on with it with --resume {path}, or overwrite it with --force"
        );
        return Err(Error::argument("--out", message));
    }
    if !folder.is_dir() {
        return Err(Error::data(folder, "is not a folder"));
    }
    match is_ours(folder) {
        true => check_links(folder),
        false => Err(Error::data(
            folder,
            "is no run of bptt, which --force does not overwrite: name another --out",
        )),
    }
}

/// An error where something in a run's folder that will be written, or emptied, is a symbolic link. By one, a run that came
/// from somebody else could have this machine's own files overwritten.
pub(super) fn check_links(folder: &Path) -> Result<()> {
    for name in [LOCK, FILES[0], FILES[1], CHECKPOINTS, PLOTS] {
        let path = folder.join(name);
        if path.is_symlink() {
            let message =
                "is a symbolic link, through which a run is not written: put what it leads to in its place";
            return Err(Error::data(path, message));
        }
    }
    Ok(())
}

/// Whether a folder is empty, but for what a process left that ended before its training began: the lock, and a file that is
/// not whole.
pub(in crate::train) fn is_unused(folder: &Path) -> bool {
    let unused = |name: &OsStr| name == LOCK || is_cut_off(name);
    fs::read_dir(folder)
        .is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(|entry| unused(&entry.file_name()))))
}

/// Whether a folder holds a run, or a model that one left.
fn is_ours(folder: &Path) -> bool {
    ConfigFile::read(&folder.join(CONFIG)).is_ok() || Model::experiment(folder).is_ok()
}

/// Folders that are removed again when dropped, unless there is something in them.
pub(in crate::train) struct Made(pub Vec<PathBuf>);

impl Made {
    /// Makes the folder, which must be new, and those above it that are missing.
    pub fn make(&mut self, path: &Path) -> std::io::Result<()> {
        let missing = |path: &&Path| !path.as_os_str().is_empty() && path.symlink_metadata().is_err();
        let above: Vec<_> = path.ancestors().skip(1).take_while(missing).map(Path::to_owned).collect();
        for folder in above.into_iter().rev() {
            match fs::create_dir(&folder) {
                // Another process was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made?;
                    self.0.push(folder);
                }
            }
        }
        fs::create_dir(path)?;
        self.0.push(path.to_owned());
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // Fails, rightly, where somebody has put something there meanwhile.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Keeps other processes from training in the folder, for as long as the file lives. It shows as well that files can be made
/// there.
pub(super) fn lock(folder: &Path) -> Result<File> {
    let refuse = |message: String| Error::data(folder, message);
    let file = File::options().write(true).create(true).truncate(false).open(folder.join(LOCK));
    let file = file.map_err(|error| refuse(format!("no file can be made in it: {}", error.kind())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(refuse(
            "another process is training in it: wait until it ends, or name another folder".into(),
        )),
        Err(fs::TryLockError::Error(error)) => Err(refuse(format!("cannot be locked: {error}"))),
    }
}

/// The newest model of text in `runs`, by the time of its file.
///
/// # Errors
/// [`Error::Data`] when there is none.
pub fn newest_text_model() -> Result<PathBuf> {
    let saved = |folder: &PathBuf| folder.join(WEIGHTS).metadata().and_then(|data| data.modified()).ok();
    let of_text =
        |folder: &PathBuf| Model::experiment(folder).is_ok_and(|name| name != Experiment::Timeseries.name());
    let folders = fs::read_dir(RUNS).into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = folders.filter(of_text).filter_map(|folder| Some((saved(&folder)?, folder))).max();
    newest.map(|(_, folder)| folder).ok_or_else(|| {
        Error::data(
            RUNS,
            "holds no model of text; train one with `bptt train text --file FILE`, or name a model's folder",
        )
    })
}
