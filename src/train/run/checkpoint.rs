//! All that a training goes on from, as one safetensors file with a checksum over everything in it.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::metrics::Row;
use crate::device::Device;
use crate::kernel::Limits;
use crate::optim::ReduceLrOnPlateau;
use crate::plans::Plans;
use crate::tensor::Shape;
use crate::train::{Best, Outcome};

/// Names, shapes and values.
pub type Tensors = Vec<(String, Shape, Vec<f32>)>;

/// Where a training stands, beside its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// The version of this format: 1.
    pub format: u32,
    /// What it ran on, for the same bits again.
    pub platform: Platform,
    /// The model as its `config.json` describes it.
    pub model: serde_json::Value,
    /// The data: length in bytes and hash.
    pub data: DataFacts,
    /// Steps done.
    pub step: u64,
    /// Whether the validation after the last step is still to be made.
    pub validation_due: bool,
    /// The loss of the last step, if there is one.
    pub loss: Option<f32>,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Random numbers drawn for dropout.
    pub dropout_calls: u64,
    /// The next batch.
    pub position: u64,
    /// The best validation so far.
    pub best: Option<Best>,
    /// The last validation.
    pub validation_loss: Option<f64>,
    /// Validations since the best one.
    pub worse: u64,
    /// Where the schedule `plateau` stands.
    pub plateau: Option<ReduceLrOnPlateau>,
    /// Whether patience has run out.
    pub stopped_early: bool,
    /// Steps that were left out, as their loss or gradient was not finite.
    pub skipped: u64,
    /// What the last step predicted, where it was asked.
    pub outcome: Option<Outcome>,
    /// The bytes of `metrics.jsonl` and `metrics.csv` that belong to it, and the row that is not yet in them.
    pub metrics: [u64; 2],
    pub row: Option<Row>,
}

/// The length and hash of what is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFacts {
    /// Bytes.
    pub bytes: u64,
    /// XXH3, 64 bits.
    pub hash: u64,
}

/// Everything that the bits of a result depend on, beside settings and data. Which kernels run follows from the limits
/// and from this program's version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Platform {
    version: String,
    pub device: String,
    backend: String,
    driver: String,
    limits: Limits,
    vectors: String,
    /// What was found by measurement in place of the cost models' choice.
    pub plans: Plans,
}

impl Platform {
    pub fn of(device: &Device) -> Platform {
        let info = device.info();
        Platform {
            version: env!("CARGO_PKG_VERSION").into(),
            device: info.name.clone(),
            backend: info.backend.clone(),
            driver: info.driver.clone(),
            limits: *device.limits(),
            vectors: format!("{:?}", pulp::Arch::new()),
            plans: device.plans(),
        }
    }

    /// What differs, for a sentence.
    pub fn difference(&self, other: &Platform) -> Option<String> {
        let parts = |p: &Platform| {
            let limits = serde_json::to_string(&p.limits).expect("limits are plain numbers");
            [
                ("bptt", p.version.clone()),
                ("device", p.device.clone()),
                ("backend", p.backend.clone()),
                ("driver", p.driver.clone()),
                ("limits", limits),
                ("vector instructions", p.vectors.clone()),
            ]
        };
        let mut pairs = parts(self).into_iter().zip(parts(other));
        pairs.find(|(a, b)| a != b).map(|((what, then), (_, now))| format!("{what} {then}, now {now}"))
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    pub progress: Progress,
    pub model: Tensors,
    /// The parameters of the best validation.
    pub best: Tensors,
    pub optimizer: Tensors,
    /// The states carried from batch to batch.
    pub carried: Tensors,
}

/// Why a file is no checkpoint to go on from.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// It is not as it was written: an older one may be.
    Damaged(String),
    /// It is whole, but not of this version of bptt.
    Foreign(String),
}

/// Keys of the file's metadata.
const PROGRESS: &str = "bptt";
const CHECKSUM: &str = "checksum";

/// The parts of a checkpoint: a tensor's name begins with its part and a dot.
const PARTS: [&str; 4] = ["model", "best", "optimizer", "carried"];

impl Checkpoint {
    pub fn to_bytes(&self) -> Vec<u8> {
        let progress = serde_json::to_string(&self.progress).expect("progress is plain values");
        let parts = PARTS.into_iter().zip([&self.model, &self.best, &self.optimizer, &self.carried]);
        let views: Vec<(String, TensorView<'_>)> = parts
            .flat_map(|(part, tensors)| tensors.iter().map(move |tensor| (part, tensor)))
            .map(|(part, (name, shape, values))| {
                let view = TensorView::new(Dtype::F32, shape.to_vec(), bytemuck::cast_slice(values));
                (format!("{part}.{name}"), view.expect("values fill their shape"))
            })
            .collect();
        let checksum = checksum(&progress, views.iter().map(|(name, view)| (name.as_str(), view)));
        let metadata = HashMap::from([(PROGRESS.into(), progress), (CHECKSUM.into(), checksum)]);
        safetensors::serialize(views, Some(metadata)).expect("names are distinct and lengths fit a file")
    }

    /// Reads one back, of any model.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, Unreadable> {
        let damaged = |why: &str| Unreadable::Damaged(format!("is no whole checkpoint: {why}"));
        let foreign =
            |why: String| Unreadable::Foreign(format!("cannot be read by this version of bptt: {why}"));
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(&error.to_string()))?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(&error.to_string()))?;
        let metadata = header.metadata().as_ref().ok_or_else(|| damaged("it has no metadata"))?;
        let (Some(progress), Some(sum)) = (metadata.get(PROGRESS), metadata.get(CHECKSUM)) else {
            return Err(damaged("it is a safetensors file of something else"));
        };
        let mut tensors = file.tensors();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        if *sum != checksum(progress, tensors.iter().map(|(name, view)| (name.as_str(), view))) {
            return Err(damaged("its checksum is wrong"));
        }
        /// What all formats have.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unknown = |error: serde_json::Error| foreign(error.to_string());
        let Format { format } = serde_json::from_str(progress).map_err(unknown)?;
        if format != 1 {
            return Err(foreign(format!("it has format {format}, not 1")));
        }
        let progress: Progress = serde_json::from_str(progress).map_err(unknown)?;
        let mut parts = [(); PARTS.len()].map(|()| Tensors::new());
        for (full, view) in tensors {
            let (part, name) = full.split_once('.').unwrap_or_default();
            let Some(part) = PARTS.iter().position(|known| *known == part) else {
                return Err(foreign(format!("it has an unknown tensor {full:?}")));
            };
            if view.dtype() != Dtype::F32 || view.shape().len() > crate::tensor::MAX_RANK {
                return Err(foreign(format!("{full:?} is {:?} of shape {:?}", view.dtype(), view.shape())));
            }
            let values =
                view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")));
            parts[part].push((name.to_string(), Shape::from(view.shape()), values.collect()));
        }
        let [model, best, optimizer, carried] = parts;
        Ok(Checkpoint { progress, model, best, optimizer, carried })
    }
}

/// Over the progress and every tensor's name, shape and values, in the order of the names.
fn checksum<'a>(progress: &str, tensors: impl Iterator<Item = (&'a str, &'a TensorView<'a>)>) -> String {
    let mut tensors: Vec<_> = tensors.collect();
    tensors.sort_by(|a, b| a.0.cmp(b.0));
    let mut hash = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(progress.as_bytes());
    for (name, view) in tensors {
        part(name.as_bytes());
        part(format!("{:?}", view.shape()).as_bytes());
        part(view.data());
    }
    format!("{:016x}", hash.digest())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn checkpoint() -> Checkpoint {
        let progress = Progress {
            format: 1,
            platform: Platform::of(&Device::cpu()),
            model: json!({"hidden": 3, "vocabulary": "ab\"ü\u{0}"}),
            data: DataFacts { bytes: 7, hash: u64::MAX },
            step: 12,
            validation_due: true,
            loss: Some(0.1),
            seconds: 1.0 / 3.0,
            dropout_calls: 1,
            position: 2,
            best: Some(Best { step: 4, loss: 0.7 }),
            validation_loss: None,
            worse: 1,
            plateau: None,
            stopped_early: false,
            skipped: 3,
            outcome: Some(Outcome::Text { accuracy: 0.5, decoded: "a\nb".into() }),
            metrics: [1, 2],
            row: None,
        };
        let tensors = |name: &str, count: usize| {
            vec![(name.to_string(), Shape::from([count]), (0..count).map(|i| i as f32 / 3.0).collect())]
        };
        Checkpoint {
            progress,
            model: tensors("rnn.w", 5),
            best: tensors("rnn.w", 5),
            optimizer: [tensors("step", 1), tensors("exp_avg.rnn.w", 5)].concat(),
            carried: tensors("h", 0),
        }
    }

    fn is_damaged(bytes: &[u8]) -> bool {
        matches!(Checkpoint::from_bytes(bytes), Err(Unreadable::Damaged(_)))
    }

    #[test]
    fn is_read_as_it_was_written() {
        let written = checkpoint();
        let read = Checkpoint::from_bytes(&written.to_bytes()).unwrap();
        assert_eq!(read.progress, written.progress);
        let parts = |of: &Checkpoint| {
            [&of.model, &of.best, &of.optimizer, &of.carried].map(|tensors| {
                let mut tensors = tensors.clone();
                tensors.sort_by(|a, b| a.0.cmp(&b.0));
                tensors
            })
        };
        assert_eq!(parts(&read), parts(&written));
    }

    #[test]
    fn is_damaged_at_every_place() {
        let whole = checkpoint().to_bytes();
        for length in 0..whole.len() {
            assert!(is_damaged(&whole[..length]), "cut to {length} bytes");
        }
        assert!(is_damaged(&[&whole[..], &[0]].concat()), "one byte more");
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                assert!(is_damaged(&flipped), "bit {bit} of byte {at} flipped: {:?}", whole[at] as char);
            }
        }
    }

    proptest! {
        #[test]
        fn is_damaged_at_many_places(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
            let whole = checkpoint().to_bytes();
            let mut changed = whole.clone();
            for (at, byte) in changes {
                let at = at.index(changed.len());
                changed[at] = byte;
            }
            // Spaces between the parts of the header may be others.
            let space = |bytes: &[u8]| -> Vec<u8> { bytes.iter().map(|b| if b.is_ascii_whitespace() { b' ' } else { *b }).collect() };
            prop_assert!(space(&changed) == space(&whole) || is_damaged(&changed));
        }
    }
}
