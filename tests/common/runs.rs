//! Short trainings, and what is left of them to compare.

use std::collections::BTreeMap;
use std::path::Path;

use bptt::data::text::{LONGSEQ, Text};
use bptt::device::Device;
use bptt::error::Result;
use bptt::train::{
    Config, Experiment, Generate, Model, Sampler, SentenceTask, SeriesTask, Summary, Task, TextTask,
};
use safetensors::SafeTensors;
use serde_json::Value;

use super::files::files;

/// Settings of a short training.
pub fn settings(experiment: Experiment, steps: u64, change: impl Fn(&mut Config)) -> Config {
    let mut config = Config::defaults(experiment);
    config.train.steps = steps;
    if experiment == Experiment::Text {
        // A pass has 20 chunks, the validation 2.
        (config.train.batch, config.train.sequence, config.model.hidden) = (2, 4, Some(6));
        config.train.validate_every = 4;
    }
    change(&mut config);
    config
}

/// The task of settings.
pub fn task(device: &Device, config: &mut Config) -> Result<Box<dyn Task>> {
    Ok(match config.experiment {
        Experiment::Text => {
            let text = Text::from_text(LONGSEQ, config.data.tokens);
            Box::new(TextTask::new(device, config, &text)?)
        }
        Experiment::Timeseries => Box::new(SeriesTask::new(device, config)?),
        _ => Box::new(SentenceTask::new(device, config)?),
    })
}

/// What a checkpoint holds, but for the time that it took.
fn checkpoint(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let mut progress: Value = serde_json::from_str(&header.metadata().as_ref().unwrap()["bptt"]).unwrap();
    assert!(progress["seconds"].take().as_f64().unwrap() > 0.0);
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let mut found: BTreeMap<_, _> =
        tensors.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
    found.insert("progress".into(), progress.to_string().into_bytes());
    found
}

/// All of a run that has ended, but for times, and what its model writes.
#[derive(PartialEq)]
pub struct Ended {
    pub files: BTreeMap<String, Vec<u8>>,
    pub checkpoint: BTreeMap<String, Vec<u8>>,
    written: Vec<u8>,
}

/// See [`Ended`].
pub fn ended(device: &Device, path: &Path) -> Ended {
    let mut files = files(path);
    let newest = files.keys().filter(|name| name.starts_with("checkpoints/"));
    let step =
        |name: &String| name["checkpoints/step-".len()..].split('.').next().unwrap().parse::<u64>().unwrap();
    let newest = newest.max_by_key(|name| step(name)).unwrap().clone();
    let checkpoint = checkpoint(&files[&newest]);
    // Which older ones there are depends on where it was broken off.
    files.retain(|name, _| !name.starts_with("checkpoints/"));
    let mut written = Vec::new();
    if let Model::Char(model) = Model::load(path, device).unwrap() {
        let prompt: String = model.vocabulary.decode(&[104 % model.vocabulary.len() as i32]);
        let mut generate = Generate::new(&model, &prompt, Sampler::default(), 1).unwrap();
        written = (0..20).flat_map(|_| generate.advance().unwrap().remove(0)).collect();
    }
    Ended { files, checkpoint, written }
}

/// Panics with the first file that differs.
#[track_caller]
pub fn assert_equal(what: &str, got: &Ended, want: &Ended) {
    let names = |of: &BTreeMap<String, Vec<u8>>| of.keys().cloned().collect::<Vec<_>>();
    for (got, want) in [(&got.files, &want.files), (&got.checkpoint, &want.checkpoint)] {
        assert_eq!(names(got), names(want), "{what}");
        for (name, got) in got {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(
                *got == want[name],
                "{what}: {name}: {:.2000}\nnot\n{:.2000}",
                text(got),
                text(&want[name])
            );
        }
    }
    assert_eq!(got.written, want.written, "{what}");
}

/// A summary without its time, to be compared.
pub fn summary(summary: &Summary) -> String {
    format!("{:?}", Summary { seconds: 0.0, ..summary.clone() })
}

/// A folder for very many runs: in memory where there is one such, since each file that a run writes is flushed to disk.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
