//! Checkpoints: all that a training goes on from, as one safetensors file with a checksum over everything in it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use safetensors::tensor::{Dtype, TensorInfo, TensorView};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::metrics::Row;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::tensors::TensorFile;
use crate::files::{self, json};
use crate::kernel::Limits;
use crate::optim::ReduceLrOnPlateau;
use crate::parameters::Parameters;
use crate::plans::Plans;
use crate::tensor::{MAX_RANK, Shape};
use crate::train::{Best, Outcome};

/// Names, shapes and values.
pub type Tensors = Vec<(String, Shape, Vec<f32>)>;

/// Where a training stands; the tensors are beside it in a [`Checkpoint`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// The version of this format: 1.
    pub format: u32,
    /// What it ran on, for the same bits again.
    pub platform: Platform,
    /// The model as its `config.json` describes it.
    pub model: serde_json::Value,
    /// The data that are trained on.
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
    /// Steps that were left out, as the loss scale was too large for their gradients.
    pub overflowed: u64,
    /// What the model did at the last step at which it was asked.
    pub outcome: Option<Outcome>,
    /// How many bytes of `metrics.jsonl` and `metrics.csv` belong to it, and the row that is not yet in them.
    pub metrics: [u64; 2],
    pub row: Option<Row>,
}

/// The length and hash of what is trained on, to know it again.
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
    /// The plans that were taken by measurement in place of the cost models' choice.
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

/// A checkpoint in memory.
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
pub(in crate::train) const PROGRESS: &str = "bptt";
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
        let mut sum = Checksum::new(&progress);
        let mut sorted: Vec<_> = views.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, view) in sorted {
            sum.begin(name, view.shape(), view.data().len());
            sum.0.update(view.data());
        }
        let metadata = HashMap::from([(PROGRESS.into(), progress), (CHECKSUM.into(), sum.digest())]);
        safetensors::serialize(views, Some(metadata)).expect("names are distinct and lengths fit a file")
    }
}

/// A checkpoint on the disk that is as it was written. Its tensors are not in memory yet.
pub(crate) struct Saved<R = File> {
    pub progress: Progress,
    file: TensorFile<R>,
}

impl Saved {
    /// Opens one, of any model.
    ///
    /// # Errors
    /// The outer error is one of the file system; the inner one says what is wrong with the file.
    pub fn open(path: &Path) -> Result<Result<Saved, Unreadable>> {
        let (file, length) = files::open(path, "checkpoint")?;
        Ok(Saved::new(file, length))
    }
}

impl<R: Read + Seek> Saved<R> {
    fn new(reader: R, length: u64) -> Result<Saved<R>, Unreadable> {
        let damaged = |why: &str| Unreadable::Damaged(format!("is no whole checkpoint: {why}"));
        let foreign =
            |why: String| Unreadable::Foreign(format!("cannot be read by this version of bptt: {why}"));
        let mut file = TensorFile::new(reader, length).map_err(|why| damaged(&why))?;
        let (Some(progress), Some(sum)) = (file.text(PROGRESS), file.text(CHECKSUM)) else {
            return Err(damaged("it is a safetensors file of something else"));
        };
        let (progress, sum) = (progress.to_string(), sum.to_string());
        let mut hash = Checksum::new(&progress);
        let names = file.names();
        for name in &names {
            let info = file.info(name).expect("its name is the file's");
            let [from, to] = [info.data_offsets.0, info.data_offsets.1];
            hash.begin(name, &info.shape, to - from);
            file.pieces(name, |piece| hash.0.update(piece)).map_err(|why| damaged(&why))?;
        }
        if sum != hash.digest() {
            return Err(damaged("its checksum is wrong"));
        }
        /// What all formats have.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unknown = |error: serde_json::Error| foreign(error.to_string());
        let Format { format } = json::parse(progress.as_bytes()).map_err(unknown)?;
        if format != 1 {
            return Err(foreign(format!("it has format {format}, not 1")));
        }
        let progress: Progress = json::parse(progress.as_bytes()).map_err(unknown)?;
        if progress.worse.max(progress.dropout_calls) > MOST_COUNTED {
            return Err(foreign(format!("it counts beyond {MOST_COUNTED}")));
        }
        for name in &names {
            if split(name).is_none() {
                return Err(foreign(format!("it has an unknown tensor {name:?}")));
            }
            let TensorInfo { dtype, shape, .. } = file.info(name).expect("its name is the file's");
            if *dtype != Dtype::F32 || shape.len() > MAX_RANK {
                return Err(foreign(format!("{name:?} is {dtype:?} of shape {shape:?}")));
            }
        }
        Ok(Saved { progress, file })
    }

    /// Reads its tensors, once their shapes are those of a model with these parameters.
    ///
    /// # Errors
    /// [`Error::Argument`] when they are not, or cannot be read.
    pub fn read(mut self, parameters: &Parameters) -> Result<Checkpoint> {
        let refuse = |message: &str| Err(Error::argument("train", message));
        let shapes: HashMap<&str, Shape> = parameters.names().collect();
        let names = self.file.names();
        for full in &names {
            let (part, name) = split(full).expect("looked at when it was opened");
            let shape = &self.file.info(full).expect("its name is the file's").shape[..];
            let is_of = |name: &str| shapes.get(name).is_some_and(|of| **of == *shape);
            match PARTS[part] {
                "model" | "best" if !is_of(name) => {
                    return refuse("the checkpoint's parameters are not the model's");
                }
                // A state has the name of its kind, a dot and the parameter's.
                "optimizer" if !(shape == [1] || name.split_once('.').is_some_and(|(_, of)| is_of(of))) => {
                    return refuse(&format!("the state does not fit: {name:?} is of no parameter"));
                }
                "carried" if shape.iter().map(|n| *n as u128).product::<u128>() > MAX_CARRIED => {
                    return refuse("the checkpoint's carried states are not the model's");
                }
                _ => {}
            }
        }
        let mut parts = [(); PARTS.len()].map(|()| Tensors::new());
        for full in &names {
            let (part, name) = split(full).expect("looked at when it was opened");
            let shape = Shape::from(&self.file.info(full).expect("its name is the file's").shape[..]);
            let values = self.file.floats(full).map_err(|why| Error::argument("train", why))?;
            parts[part].push((name.to_string(), shape, values));
        }
        let [model, best, optimizer, carried] = parts;
        Ok(Checkpoint { progress: self.progress, model, best, optimizer, carried })
    }
}

/// The most that is counted in a training: what goes on from more could overflow.
pub(crate) const MOST_COUNTED: u64 = 1 << 53;

/// The most values of a state that is carried from batch to batch.
const MAX_CARRIED: u128 = 1 << 28;

/// The number of the part that a tensor belongs to, and its name in it.
fn split(full: &str) -> Option<(usize, &str)> {
    let (part, name) = full.split_once('.')?;
    Some((PARTS.iter().position(|known| *known == part)?, name))
}

/// Over the progress and every tensor's name, shape and values, in the order of the names.
struct Checksum(Xxh3);

impl Checksum {
    fn new(progress: &str) -> Checksum {
        let mut sum = Checksum(Xxh3::new());
        sum.part(progress.as_bytes());
        sum
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// A tensor, whose so many bytes come next.
    fn begin(&mut self, name: &str, shape: &[usize], bytes: usize) {
        self.part(name.as_bytes());
        self.part(format!("{shape:?}").as_bytes());
        self.0.update(&(bytes as u64).to_le_bytes());
    }

    fn digest(&self) -> String {
        format!("{:016x}", self.0.digest())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::parameters::Initializer;

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
            overflowed: 2,
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

    fn open(bytes: &[u8]) -> Result<Saved<Cursor<&[u8]>>, Unreadable> {
        Saved::new(Cursor::new(bytes), bytes.len() as u64)
    }

    fn is_damaged(bytes: &[u8]) -> bool {
        matches!(open(bytes), Err(Unreadable::Damaged(_)))
    }

    /// Those of a model with the one parameter of [`checkpoint`].
    fn parameters(count: usize) -> Parameters {
        let mut init = Initializer::new(&Device::cpu(), 0);
        init.constant("rnn.w", [count], 0.0);
        init.build().unwrap()
    }

    #[test]
    fn is_read_as_it_was_written() {
        let written = checkpoint();
        let bytes = written.to_bytes();
        let read = open(&bytes).unwrap().read(&parameters(5)).unwrap();
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
    fn is_refused_by_another_model_before_it_is_read() {
        let refused = |checkpoint: &Checkpoint, count: usize| {
            open(&checkpoint.to_bytes()).unwrap().read(&parameters(count)).unwrap_err().to_string()
        };
        assert_eq!(refused(&checkpoint(), 6), "train: the checkpoint's parameters are not the model's");
        let mut other = checkpoint();
        other.optimizer[1].0 = "exp_avg.rnn.v".into();
        let says = "train: the state does not fit: \"exp_avg.rnn.v\" is of no parameter";
        assert_eq!(refused(&other, 5), says);
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
