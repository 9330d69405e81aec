//! Helpers for the files in the folder of a run: to compare them, to change them, and to wait for them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use super::files::files;
use super::harness::{Run, bptt, command, run};

/// Names, shapes and values of a checkpoint.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

pub fn read_checkpoint(bytes: &[u8]) -> (Value, Tensors) {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let progress = serde_json::from_str(&header.metadata().as_ref().unwrap()["bptt"]).unwrap();
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let part = |(name, view): (String, TensorView<'_>)| (name, (view.shape().to_vec(), view.data().to_vec()));
    (progress, tensors.tensors().into_iter().map(part).collect())
}

/// A checkpoint with other contents and the checksum that belongs to them.
pub fn change_checkpoint(path: &Path, change: impl FnOnce(&mut Value, &mut Tensors)) {
    let (mut progress, mut tensors) = read_checkpoint(&fs::read(path).unwrap());
    change(&mut progress, &mut tensors);
    let progress = progress.to_string();
    let mut hash = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(progress.as_bytes());
    for (name, (shape, data)) in &tensors {
        part(name.as_bytes());
        part(format!("{shape:?}").as_bytes());
        part(data);
    }
    let checksum = format!("{:016x}", hash.digest());
    let metadata = HashMap::from([("bptt".to_string(), progress), ("checksum".to_string(), checksum)]);
    let views = tensors
        .iter()
        .map(|(name, (shape, data))| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    fs::write(path, serialize(views, Some(metadata)).unwrap()).unwrap();
}

/// All of a run that has ended, but for times and its own path, and what the model writes.
pub fn ended(folder: &Path, name: &str) -> BTreeMap<String, Vec<u8>> {
    let mut all = files(&folder.join(name));
    // Drawn from the rest, at the very end.
    all.retain(|name, _| !name.starts_with("plots/"));
    assert!(
        all.keys().all(|name| !name.contains(".bptt-")),
        "something half-written is left: {:?}",
        all.keys()
    );
    let mut result: Value = serde_json::from_slice(&all["result.json"]).unwrap();
    let _ = (result["seconds"].take(), result["out"].take());
    let steps = &result["steps"];
    let (mut progress, tensors) = read_checkpoint(&all[&format!("checkpoints/step-{steps}.safetensors")]);
    let _ = progress["seconds"].take();
    // Which older ones there are depends on where it was broken off.
    all.retain(|name, _| !name.starts_with("checkpoints/"));
    all.extend(tensors.into_iter().map(|(name, (_, data))| (format!("tensor {name}"), data)));
    all.insert("progress".into(), progress.to_string().into());
    all.insert("result.json".into(), result.to_string().into());
    if result["experiment"] != "timeseries" {
        all.insert("written".into(), bptt(folder, &format!("generate {name} --length 40")).done().into());
    }
    all
}

#[track_caller]
pub fn assert_equal(got: &BTreeMap<String, Vec<u8>>, want: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (name, got) in got {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(*got == want[name], "{name}: {:.2000}\nnot\n{:.2000}", text(got), text(&want[name]));
    }
}

/// Begins a command without waiting for it.
pub fn start(folder: &Path, args: &str) -> Child {
    let mut command = command(folder, args.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits for a checkpoint of a step or of a later one.
pub fn reaches(run: &Path, step: u64) {
    let step_of = |name: &str| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse::<u64>().ok();
    for _ in 0..30_000 {
        let checkpoints = fs::read_dir(run.join("checkpoints")).into_iter().flatten().flatten();
        if checkpoints.filter_map(|entry| step_of(entry.file_name().to_str()?)).any(|found| found >= step) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{} does not reach step {step}", run.display());
}

/// A command in a shell with a limit of its own.
pub fn limited(folder: &Path, limit: &str, args: &str) -> Run {
    let program = command(folder, args.split_whitespace());
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{limit} && exec \"$0\" \"$@\"")])
        .arg(program.get_program())
        .args(program.get_args());
    shell.current_dir(folder).envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
    run(shell)
}
