//! What the library promises about memory and threads, and the compiler does not check by itself: where `unsafe` is, how much of it
//! there is, and that types can be sent to and shared between threads.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bptt::data::csv::Table;
use bptt::data::scale::Scaler;
use bptt::data::series::SeriesWindows;
use bptt::data::text::{Streams, Text, Vocabulary};
use bptt::device::{DeviceInfo, ReadBack};
use bptt::nn::{Recurrent, RecurrentConfig};
use bptt::prelude::*;
use bptt::train::{
    CharModel, CharModelConfig, Config, ConfigFile, Event, Forecast, Generate, Model, Record, Row, Run,
    Sampler, SentenceTask, SeriesModel, SeriesModelConfig, SeriesTask, Summary, TextTask,
};

/// Every use of `unsafe`: the file, how many, and what runs them. The compiler denies it outside src/cpu and src/device,
/// and clippy a block without a reason; a new one is a new line here, with a test of it.
const UNSAFE: &[(&str, usize, &str)] = &[
    ("src/cpu/adagrad.rs", 1, "tests/optimizers.rs"),
    ("src/cpu/adam.rs", 2, "tests/optimizers.rs"),
    ("src/cpu/bias_add.rs", 1, "tests/twins.rs"),
    ("src/cpu/binary.rs", 1, "tests/kernels.rs"),
    ("src/cpu/column_sum.rs", 1, "tests/twins.rs"),
    ("src/cpu/cross_entropy.rs", 1, "tests/losses.rs"),
    ("src/cpu/cross_entropy_soft.rs", 1, "tests/losses.rs"),
    ("src/cpu/dropout.rs", 1, "tests/kernels.rs"),
    ("src/cpu/embedding_backward.rs", 1, "tests/gradients.rs"),
    ("src/cpu/gru_backward.rs", 3, "tests/recurrent/main.rs"),
    ("src/cpu/gru_forward.rs", 3, "tests/recurrent/main.rs"),
    ("src/cpu/halves.rs", 1, "tests/kernels.rs"),
    ("src/cpu/layer_norm.rs", 1, "tests/kernels.rs"),
    ("src/cpu/layer_norm_backward.rs", 1, "tests/kernels.rs"),
    ("src/cpu/lstm_backward.rs", 3, "tests/recurrent/main.rs"),
    ("src/cpu/lstm_forward.rs", 4, "tests/recurrent/main.rs"),
    ("src/cpu/matmul.rs", 2, "tests/twins.rs"),
    ("src/cpu/max_dim.rs", 1, "tests/kernels.rs"),
    ("src/cpu/multiply_add.rs", 1, "tests/twins.rs"),
    ("src/cpu/packed.rs", 8, "tests/twins.rs"),
    ("src/cpu/philox_uniform.rs", 1, "tests/kernels.rs"),
    ("src/cpu/reduce_sum.rs", 1, "tests/twins.rs"),
    ("src/cpu/regression_loss.rs", 1, "tests/losses.rs"),
    ("src/cpu/rmsprop.rs", 3, "tests/optimizers.rs"),
    ("src/cpu/rnn_backward.rs", 3, "tests/recurrent/main.rs"),
    ("src/cpu/rnn_forward.rs", 1, "tests/recurrent/main.rs"),
    ("src/cpu/sgd.rs", 2, "tests/optimizers.rs"),
    ("src/cpu/softmax.rs", 1, "tests/twins.rs"),
    ("src/cpu/softmax_backward.rs", 1, "tests/kernels.rs"),
    ("src/cpu/threads.rs", 7, "src/cpu/threads.rs"),
    ("src/cpu/unary.rs", 1, "tests/kernels.rs"),
    ("src/cpu/vector.rs", 1, "tests/twins.rs"),
    ("src/device/cpu.rs", 11, "tests/device.rs"),
    ("src/device/gpu/open.rs", 1, "tests/device.rs"),
    ("src/device/gpu/pipelines.rs", 2, "tests/device.rs"),
    ("src/device/select.rs", 1, "tests/cli/devices.rs"),
];

/// How often code says `unsafe`, not what is written about it or quoted.
fn count(text: &str) -> usize {
    let code = text.lines().filter_map(|line| line.split("//").next());
    let code: String = code.map(|line| line.to_string() + "\n").collect();
    let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '\'' || c == '-'));
    words.filter(|word| *word == "unsafe").count()
}

fn collect(folder: &Path, root: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, root, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let uses = count(&fs::read_to_string(&path).unwrap());
            if uses > 0 {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(name, uses);
            }
        }
    }
}

#[test]
fn every_unsafe_is_counted() {
    assert_eq!(count("unsafe { a } // unsafe\n/// unsafe\nunsafe_code 'unsafe-inline' unsafe fn"), 2);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    for folder in ["src", "tests", "examples", "benches"] {
        collect(&root.join(folder), root, &mut found);
    }
    // This file quotes the word above.
    found.remove("tests/safety.rs");
    let listed: BTreeMap<String, usize> =
        UNSAFE.iter().map(|(file, uses, _)| (file.to_string(), *uses)).collect();
    assert_eq!(found, listed);
    for (file, _, test) in UNSAFE {
        assert!(file.starts_with("src/cpu/") || file.starts_with("src/device/"), "{file}");
        assert!(root.join(test).is_file(), "{test} of {file}");
    }
}

const fn sent<T: Send>() {}

const fn shared<T: Send + Sync>() {}

/// A program may make a device on one thread and train on another.
const _: () = {
    shared::<(Device, DeviceInfo, Tensor, Indices, Parameters, Error, Shape, Lengths)>();
    shared::<(Rnn, Lstm, Gru, RnnCell, LstmCell, GruCell, Recurrent, Linear, Embedding, LayerNorm, Dropout)>(
    );
    shared::<(RnnConfig, LstmConfig, GruConfig, RnnCellConfig, CellConfig, RecurrentConfig)>();
    shared::<(LinearConfig, EmbeddingConfig, LayerNormConfig, CrossEntropyLoss, RegressionLoss)>();
    shared::<(SgdConfig, AdamConfig, AdamWConfig, RmspropConfig, AdagradConfig, ParamGroup)>();
    shared::<(Sgd, Adam, AdamW, Rmsprop, Adagrad, LrSchedule, ReduceLrOnPlateau)>();
    shared::<(Text, Vocabulary, Table, Scaler, SeriesWindows)>();
    shared::<(Config, ConfigFile, CharModel, CharModelConfig, SeriesModel, SeriesModelConfig, Model)>();
    shared::<(Event, Forecast, Generate, Record, Row, Summary, Run)>();
    sent::<(Tape, Initializer, Streams, Sampler, ReadBack)>();
    sent::<(SentenceTask, TextTask, SeriesTask)>();
};
