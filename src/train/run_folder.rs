//! The folder of a run: `config.json` and `model.safetensors`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::model::{CharModel, ModelConfig};
use super::weights::{from_bytes, read_weights, read_whole, to_bytes, write_whole};
use crate::device::Device;
use crate::error::{Error, Result};

/// Where runs go that are given no folder.
const RUNS: &str = "runs";
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
/// The longest config.json that is read: a vocabulary of all of Unicode fits.
const MAX_CONFIG: u64 = 16 << 20;

/// A folder to save a model in. It is made when training begins, so that training never ends with nowhere to save; one
/// that nothing was saved in is removed again.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Folders made here, the outermost first, while nothing has been saved.
    made: Vec<PathBuf>,
}

impl RunFolder {
    /// The folder `path`, or a new one `runs/<experiment>-<number>`. One that exists is taken only with `force`.
    ///
    /// # Errors
    /// [`Error::Argument`] when it exists; [`Error::Data`] when it cannot be made or written to.
    pub fn create(path: Option<&Path>, experiment: &str, force: bool) -> Result<RunFolder> {
        let (mut number, mut retries) = (0u64, 100);
        loop {
            number += 1;
            let next = || Path::new(RUNS).join(format!("{experiment}-{number}"));
            let mut folder = RunFolder { path: path.map_or_else(next, Path::to_owned), made: Vec::new() };
            let made = folder.make();
            let refuse = |message: String| Err(Error::data(&folder.path, message));
            match made {
                // A folder above it may have vanished again: another run's, which failed.
                Err(error) if error.kind() == ErrorKind::NotFound && retries > 0 => {
                    (retries, number) = (retries - 1, number - 1);
                    continue;
                }
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return refuse(format!("cannot be made: {error}"));
                }
                Err(_) if path.is_none() => continue,
                Err(_) if !force => {
                    let path = folder.path.display();
                    let message = format!(
                        "{path} exists already; name another --out, or overwrite its model with --force"
                    );
                    return Err(Error::argument("--out", message));
                }
                Err(_) if !folder.path.is_dir() => return refuse("is not a folder".into()),
                _ => {}
            }
            // Made only to be dropped: it shows that there can be files.
            return match tempfile::NamedTempFile::new_in(&folder.path) {
                Ok(_) => Ok(folder),
                Err(error) => refuse(format!("no file can be made in it: {}", error.kind())),
            };
        }
    }

    /// Makes the folder, which must be new, and those above it that are missing.
    fn make(&mut self) -> std::io::Result<()> {
        let missing = |path: &&Path| !path.as_os_str().is_empty() && path.symlink_metadata().is_err();
        let above: Vec<_> = self.path.ancestors().skip(1).take_while(missing).map(Path::to_owned).collect();
        for folder in above.into_iter().rev() {
            match std::fs::create_dir(&folder) {
                // Another process was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made?;
                    self.made.push(folder);
                }
            }
        }
        std::fs::create_dir(&self.path)?;
        self.made.push(self.path.clone());
        Ok(())
    }

    /// The newest model in `runs`, by the time of its file.
    ///
    /// # Errors
    /// [`Error::Data`] when there is none.
    pub fn newest() -> Result<PathBuf> {
        let saved = |folder: &PathBuf| folder.join(WEIGHTS).metadata().and_then(|data| data.modified()).ok();
        let folders = std::fs::read_dir(RUNS).into_iter().flatten().flatten().map(|entry| entry.path());
        let newest = folders.filter_map(|folder| Some((saved(&folder)?, folder))).max();
        newest.map(|(_, folder)| folder).ok_or_else(|| {
            Error::data(
                RUNS,
                "holds no model; train one with `bptt train text --file FILE`, or name a model's folder",
            )
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a model, whole or not at all.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a parameter is; [`Error::Data`] when it cannot be written; [`Error::Gpu`] on a fault.
    pub fn save(&mut self, model: &CharModel) -> Result<()> {
        let config = serde_json::to_string_pretty(&model.config)
            .expect("a configuration has nothing but plain fields");
        let weights = to_bytes(&model.parameters).map_err(|error| match error {
            Error::NonFinite { what, at } => {
                Error::NonFinite { what, at: at.map(|at| format!("{at}; try a smaller --lr")) }
            }
            other => other,
        })?;
        let [config_file, weights_file] = [CONFIG, WEIGHTS].map(|name| self.path.join(name));
        write_whole(&[(&config_file, config.as_bytes()), (&weights_file, &weights)])?;
        self.made.clear();
        Ok(())
    }

    /// Reads a model back onto a device.
    ///
    /// # Errors
    /// [`Error::Data`] names the file and what is wrong with it; [`Error::Gpu`] on a fault.
    pub fn load(path: &Path, device: &Device) -> Result<CharModel> {
        if !path.is_dir() {
            let found = if path.exists() { "is no folder" } else { "no such folder" };
            return Err(Error::data(
                path,
                format!("{found}; a model is a folder with {CONFIG} and {WEIGHTS}"),
            ));
        }
        let file = path.join(CONFIG);
        let bad = |message: String| Error::data(&file, message);
        for file in [&file, &path.join(WEIGHTS)] {
            if !file.exists() {
                let message = format!("no such file; a model's folder holds {CONFIG} and {WEIGHTS}");
                return Err(Error::data(file, message));
            }
        }
        let text = read_whole(&file, MAX_CONFIG)?;
        let config: ModelConfig = serde_json::from_slice(&text)
            .map_err(|error| bad(format!("is no configuration of a model: {error}")))?;
        let in_file = |error| match error {
            Error::Argument { message, .. } => bad(message),
            other => other,
        };
        // Before memory is taken for a model that the weights may not fill.
        let weights = path.join(WEIGHTS);
        let bytes = read_weights(&weights, config.check().map_err(in_file)?)?;
        let model = CharModel::new(device, config, 0).map_err(in_file)?;
        from_bytes(&model.parameters, &bytes, &weights).map_err(|error| match error {
            Error::Data { path, message } => {
                Error::Data { path, message: format!("{message}; the model is that of {CONFIG}") }
            }
            other => other,
        })?;
        Ok(model)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            // Fails, rightly, where somebody has put something there meanwhile.
            let _ = std::fs::remove_dir(folder);
        }
    }
}
