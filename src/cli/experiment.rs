//! An experiment whose steps are looked at, without a run.

use std::path::{Path, PathBuf};

use bptt::device::Device;
use bptt::error::{Error, Result};
use bptt::train::{Config, ConfigFile, Experiment, Task, check_writable, fit_memory};

use super::output::Output;
use super::train::{self, Name, Settings, source};

/// The options of a training's step.
#[derive(clap::Args)]
pub struct ExperimentArgs {
    /// What to train [default: the experiment of --config]
    #[arg(value_name = "EXPERIMENT", hide_possible_values = true)]
    experiment: Option<Name>,
    #[command(flatten)]
    settings: Settings,
    /// auto, cpu, gpu, an index, part of a name [default: auto]
    #[arg(long, value_name = "NAME", help_heading = "Run")]
    device: Option<String>,
    /// Take the settings of a config.toml; options given here win
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    config: Option<PathBuf>,
}

/// A task that is ready for its first step.
pub struct Prepared {
    pub device: Device,
    pub config: Config,
    pub task: Box<dyn Task>,
}

impl ExperimentArgs {
    /// Reads the data and makes the model.
    pub fn prepare(&self, output: Output) -> Result<Prepared> {
        let file = self.config.as_deref().map(ConfigFile::read).transpose()?;
        let experiment =
            train::experiment(self.experiment, file.as_ref(), "or the settings of one with --config")?;
        prepare(file.as_ref(), experiment, &self.settings, self.device.as_deref(), output)
    }
}

/// Reads the data of an experiment and makes its model, with the settings of a file, where there is one, and the options.
pub fn prepare(
    file: Option<&ConfigFile>,
    experiment: Experiment,
    settings: &Settings,
    device: Option<&str>,
    output: Output,
) -> Result<Prepared> {
    let options = settings.table(device)?;
    let mut config = Config::resolve(file, experiment, &options)?;
    let device = super::device(&config.device)?;
    let mut notes = Vec::new();
    // Sizes of a file are taken as they are.
    let named = settings.sizes().map(|given| file.is_some() || given);
    let source = source(&mut config, named, &mut notes)?;
    fit_memory(&device, &mut config, &source, false, false)?;
    let task = source.task(&device, &mut config)?;
    notes.iter().for_each(|note| output.note(note));
    Ok(Prepared { device, config, task })
}

/// The ending of a file's name, which must be one of these; the file can be written.
pub fn ending<'e>(path: &Path, endings: &[&'e str]) -> Result<&'e str> {
    let found = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let Some(ending) = endings.iter().find(|ending| ending.eq_ignore_ascii_case(found)) else {
        let name = path.display();
        let known = endings.iter().map(|ending| format!(".{ending}")).collect::<Vec<_>>().join(" or ");
        return Err(Error::argument("out", format!("--out {name}: name a file that ends with {known}")));
    };
    check_writable(path)?;
    Ok(ending)
}
