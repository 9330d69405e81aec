//! Which values settings may have, and which settings must stay as they are when a run goes on.

use std::fmt;

use toml::Table;

use super::{Config, Experiment, ScheduleKind};
use crate::cpu::control::MOST_SCALE;
use crate::error::{Error, Result};
use crate::optim::LossScale;
use crate::parameters::Precision;

/// The largest setting: the devices compute in 32 bits, where larger numbers are infinite.
pub const LARGEST: f64 = 3e38;

/// Keys of the training that cannot change when a run goes on.
const FROZEN: [&str; 7] =
    ["seed", "batch", "sequence", "precision", "loss_scale", "optimizer", "validate_chunks"];

/// A key that holds something impossible, and what is wrong with it.
pub(super) struct Fault {
    pub key: &'static str,
    message: String,
}

impl Fault {
    /// The same in the words of the command line.
    pub fn of_option(&self) -> String {
        format!("--{} {}", self.key.replace('_', "-"), self.message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.message)
    }
}

impl Config {
    /// An error unless a run that was begun with the settings `begun` can go on with these.
    ///
    /// # Errors
    /// [`Error::Argument`] names what cannot change.
    pub fn check_resumed(&self, begun: &Config) -> Result<()> {
        let (new, old) = (self.table()?, begun.table()?);
        // The schedule `plateau` keeps the learning rate and its settings in the checkpoint.
        let plateau = [self, begun].iter().all(|config| config.train.schedule == ScheduleKind::Plateau);
        let frozen = |section: &str, key: &str| match section {
            "train" => FROZEN.contains(&key) || plateau && matches!(key, "lr" | "lr_gamma" | "lr_patience"),
            // Data may move.
            "data" => !matches!(key, "file" | "csv"),
            _ => true,
        };
        for (section, keys) in Config::SECTIONS {
            let value =
                |table: &Table, key: &str| table.get(section).and_then(|section| section.get(key)).cloned();
            for key in keys.iter().filter(|key| frozen(section, key)) {
                let (new, old) = (value(&new, key), value(&old, key));
                if new != old {
                    let shown = old.map_or("not set".to_string(), |old| old.to_string());
                    let option = key.replace('_', "-");
                    let message = format!("--{option} cannot change when a run goes on: it is {shown}");
                    return Err(Error::argument("train", message));
                }
            }
        }
        Ok(())
    }

    /// An error unless every value is possible.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let fault = |key, message: String| Err(Fault { key, message });
        let Config { data, model, train, .. } = self;
        if self.format != 1 {
            return fault("format", format!("must be 1, got {}", self.format));
        }
        for (key, size) in [
            ("steps", train.steps),
            ("epochs", train.epochs.unwrap_or(1)),
            ("sequence", train.sequence as u64),
            ("batch", if self.experiment == Experiment::Text { train.batch as u64 } else { 1 }),
            ("hidden", model.hidden.unwrap_or(1) as u64),
            ("layers", model.layers as u64),
            ("embedding", model.embedding.unwrap_or(1) as u64),
            ("window", data.window as u64),
            ("horizon", data.horizon as u64),
            ("lr_every", train.lr_every.unwrap_or(1)),
            ("keep", train.keep as u64),
            ("accumulate", train.accumulate as u64),
        ] {
            if size == 0 {
                return fault(key, "must be at least 1, got 0".into());
            }
        }
        for (key, value) in [("weight_decay", train.weight_decay), ("clip", train.clip)] {
            if !(0.0..=LARGEST).contains(&value) {
                return fault(key, format!("must be from 0 to {LARGEST:e}, got {value}"));
            }
        }
        if !(train.lr > 0.0 && train.lr <= LARGEST) {
            return fault("lr", format!("must be above 0 and at most {LARGEST:e}, got {}", train.lr));
        }
        if train.loss_scale != LossScale::default().init_scale && train.precision != Precision::F16 {
            return fault("loss_scale", "is for the precision f16 alone".into());
        }
        if !(1.0..=MOST_SCALE as f32).contains(&train.loss_scale) {
            let message = format!("must be from 1 to {MOST_SCALE}, got {}", train.loss_scale);
            return fault("loss_scale", message);
        }
        if let Some(gamma) = train.lr_gamma.filter(|gamma| !(*gamma > 0.0 && *gamma < 1.0)) {
            return fault("lr_gamma", format!("must be above 0 and below 1, got {gamma}"));
        }
        if train.epochs.is_none() && train.warmup > train.steps {
            return fault(
                "warmup",
                format!("must be at most the steps, {}, got {}", train.steps, train.warmup),
            );
        }
        if !(0.0..=1.0).contains(&model.dropout) {
            return fault("dropout", format!("must be from 0 to 1, got {}", model.dropout));
        }
        if !(data.split > 0.0 && data.split < 1.0) {
            return fault("split", format!("must be above 0 and below 1, got {}", data.split));
        }
        if train.schedule == ScheduleKind::Plateau && self.experiment != Experiment::Text {
            return fault("schedule", "plateau needs a validation loss, which only text has".into());
        }
        if train.seed > i64::MAX as u64 {
            return fault("seed", format!("must be at most {}, got {}", i64::MAX, train.seed));
        }
        Ok(())
    }
}
