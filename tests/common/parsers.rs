//! Every reader of files in the library, as a function that is given any bytes: tests/hostile and fuzz/ call them. They return
//! whether the bytes were taken. An error is as good as that; a panic, a hang or unbounded memory is not.
#![allow(dead_code, reason = "each fuzz target uses one of them")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bptt::data::csv::{CsvOptions, read_table};
use bptt::data::text::{Text, Unit};
use bptt::device::Device;
use bptt::error::Result;
use bptt::parameters::Precision;
use bptt::plans::{load_plans, save_plans};
use bptt::prelude::*;
use bptt::train::forecast::read_forecasts;
use bptt::train::{
    Config, ConfigFile, Hooks, Model, Record, Run, SentenceTask, TextTask, convert_weights, train,
};
use bptt::verify::conform;
use tempfile::TempDir;
use xxhash_rust::xxh3::Xxh3;

/// A folder that is gone with the process; in memory where there is such a file system.
pub fn folder() -> TempDir {
    match Path::new("/dev/shm") {
        shared if shared.is_dir() => tempfile::tempdir_in(shared),
        _ => tempfile::tempdir(),
    }
    .expect("a folder can be made")
}

/// Where this process puts the bytes.
static FOLDER: LazyLock<TempDir> = LazyLock::new(folder);

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = FOLDER.path().join(name);
    fs::create_dir_all(path.parent().expect("it is below the folder")).expect("folders can be made");
    fs::write(&path, bytes).expect("files can be written");
    path
}

/// `config.json` and `model.safetensors`: a model's folder.
pub fn model(config: &[u8], weights: &[u8]) -> bool {
    file("model/config.json", config);
    let path = file("model/model.safetensors", weights);
    Model::load(path.parent().expect("it is in a folder"), &Device::cpu()).is_ok()
}

/// A state dict of PyTorch's for the LSTM of tests/pytorch.
pub fn weights(bytes: &[u8]) -> bool {
    static PARAMETERS: LazyLock<Parameters> = LazyLock::new(|| {
        let mut init = Initializer::new(&Device::cpu(), 0);
        let config = LstmConfig {
            input_size: 3,
            hidden_size: 4,
            num_layers: 2,
            bidirectional: true,
            ..LstmConfig::default()
        };
        Lstm::new(&mut init, "rnn", &config).expect("the options are right");
        init.build().expect("it is small")
    });
    load_weights(&PARAMETERS, &file("weights.safetensors", bytes)).is_ok()
}

/// Any safetensors file, whose floats are rounded to each type.
pub fn converted(bytes: &[u8]) -> bool {
    let (path, to) = (file("any.safetensors", bytes), FOLDER.path().join("converted.safetensors"));
    Precision::ALL.into_iter().any(|precision| {
        let taken = convert_weights(&path, &to, precision, true, &|| false).is_ok();
        assert!(!taken || convert_weights(&to, &path, precision, true, &|| false).is_ok());
        taken
    })
}

/// The settings of the run whose checkpoints [`checkpoint`] reads.
const SETTINGS: &str = "format = 1\nexperiment = \"hihello\"\n[train]\nsteps = 8\n";

/// A checkpoint of that run.
pub fn a_checkpoint() -> Vec<u8> {
    let folder = folder();
    let path = file("settings.toml", SETTINGS.as_bytes());
    let config = ConfigFile::read(&path).expect("the settings are right").config;
    let mut run = Run::create(Some(&folder.path().join("run")), "hihello", false).expect("the folder is new");
    run.set_config(&config).expect("its paths are UTF-8");
    resume(&config, &mut run, 4).expect("the training goes well");
    let mut made = fs::read_dir(run.path().join("checkpoints")).expect("it has saved one");
    let path = made.next().expect("it has saved one").expect("it can be read").path();
    fs::read(path).expect("it can be read")
}

/// Goes on with a run up to a step.
fn resume(config: &Config, run: &mut Run, until: u64) -> Result<()> {
    let device = Device::cpu();
    let mut config = config.clone();
    let mut task = SentenceTask::new(&device, &mut config)?;
    let step = std::cell::Cell::new(0);
    let mut on_event = |event| {
        if let bptt::train::Event::Step { step: done, .. } = event {
            step.set(done);
        }
        Ok(())
    };
    let stop = || step.get() >= until;
    let mut hooks = Hooks::new(&stop, &mut on_event);
    train(&device, &config, &mut task, Some(run), &mut hooks).map(drop)
}

/// Such a checkpoint, with the checksum that belongs to what it holds: whoever changes a file on purpose changes
/// that too.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let path = file("run/checkpoints/step-4.safetensors", &with_checksum(bytes).unwrap_or(bytes.to_vec()));
    let run = path.parent().and_then(Path::parent).expect("it is in a folder of a run");
    file("run/config.toml", SETTINGS.as_bytes());
    let gone_on = Run::open(run).and_then(|(mut run, file)| resume(&file.config, &mut run, 0));
    for name in ["metrics.jsonl", "metrics.csv"] {
        // Of the last one.
        let _ = fs::remove_file(run.join(name));
    }
    gone_on.is_ok()
}

/// A safetensors file with the checksum of a checkpoint.
fn with_checksum(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = u64::from_le_bytes(*bytes.first_chunk()?) as usize;
    let (text, data) = bytes[8..].split_at_checked(length)?;
    let mut header: serde_json::Value = serde_json::from_slice(text).ok()?;
    let mut hash = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(header["__metadata__"]["bptt"].as_str()?.as_bytes());
    let mut tensors: Vec<_> =
        header.as_object()?.iter().filter(|(name, _)| *name != "__metadata__").collect();
    tensors.sort_by_key(|(name, _)| *name);
    for (name, info) in tensors {
        let shape: Vec<u64> = info["shape"].as_array()?.iter().filter_map(|size| size.as_u64()).collect();
        let [from, to] = [0, 1].map(|k| info["data_offsets"][k].as_u64().unwrap_or(0) as usize);
        part(name.as_bytes());
        part(format!("{shape:?}").as_bytes());
        part(data.get(from..to)?);
    }
    header["__metadata__"]["checksum"] = format!("{:016x}", hash.digest()).into();
    let text = header.to_string();
    Some([&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), data].concat())
}

/// `config.toml`: where it is taken, the tasks of sentences and texts are made of it.
pub fn settings(bytes: &[u8]) -> bool {
    let Ok(ConfigFile { mut config, .. }) = ConfigFile::read(&file("config.toml", bytes)) else {
        return false;
    };
    let again = Config::resolve(None, config.experiment, &toml::Table::new());
    assert!(again.is_ok() && config.to_toml().is_ok());
    // What would take a while is no test of the reader.
    if config.model.hidden.unwrap_or(1) <= 64
        && config.model.embedding.unwrap_or(1) <= 64
        && config.model.layers <= 4
    {
        let device = Device::cpu();
        let text = Text::from_text(bptt::data::text::LONGSEQ, config.data.tokens);
        let _ = TextTask::new(&device, &mut config.clone(), &text);
        let _ = SentenceTask::new(&device, &mut config);
    }
    true
}

/// A table: what is in it if nothing is said, and by names and numbers. How many numbers were taken at most.
pub fn csv(bytes: &[u8]) -> usize {
    let path = file("table.csv", bytes);
    let asked = |names: &[&str]| Some(names.iter().map(|name| name.to_string()).collect());
    let options = [
        CsvOptions::default(),
        CsvOptions { columns: asked(&["Close", "2"]), ..CsvOptions::default() },
        CsvOptions { delimiter: Some(';'), header: Some(false), ..CsvOptions::default() },
    ];
    let numbers = |options| read_table(&path, options).map_or(0, |table| table.rows() * table.columns.len());
    options.iter().map(numbers).max().unwrap_or(0)
}

/// A text, with its own vocabulary and with that of a model.
pub fn text(bytes: &[u8]) -> bool {
    let path = file("text.txt", bytes);
    let known = Text::from_text("hello", Unit::Characters);
    let _ = Text::open_with(&path, known.vocabulary());
    let taken = |unit| {
        let text = Text::open(&path, unit)?;
        text.streams(0..text.len(), 2, 3)?.next_chunk().map(drop)
    };
    taken(Unit::Bytes).is_ok() | taken(Unit::Characters).is_ok()
}

/// `case.json` and `tensors.safetensors`: a case of tests/conformance, which is run.
pub fn case(description: &[u8], tensors: &[u8]) -> bool {
    file("case/case.json", description);
    let path = file("case/tensors.safetensors", tensors);
    let folder = path.parent().expect("it is in a folder");
    conform::run(&Device::cpu(), folder, Precision::F32).and_then(|results| results.verdict()).is_ok()
}

/// The file of `bptt tune`.
pub fn plans(bytes: &[u8]) -> bool {
    let (path, device) = (file("plans.json", bytes), Device::cpu());
    let Ok(plans) = load_plans(&path, device.info()) else { return false };
    save_plans(&path, device.info(), &plans).expect("what was read can be written");
    device.set_plans(plans);
    true
}

/// `metrics.jsonl` of a run.
pub fn metrics(bytes: &[u8]) -> bool {
    file("looked/config.toml", SETTINGS.as_bytes());
    let path = file("looked/metrics.jsonl", bytes);
    Record::read(path.parent().expect("it is in a folder")).is_ok()
}

/// `result.json` of a run.
pub fn result(bytes: &[u8]) -> bool {
    file("ended/config.toml", SETTINGS.as_bytes());
    file("ended/metrics.jsonl", b"");
    let path = file("ended/result.json", bytes);
    Record::read(path.parent().expect("it is in a folder")).is_ok()
}

/// `forecasts.csv` of a run.
pub fn forecasts(bytes: &[u8]) -> bool {
    read_forecasts(&file("forecasts.csv", bytes)).is_ok()
}
