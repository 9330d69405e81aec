//! The same settings give the same bits in every process, with any number of threads; and on every device nearly the same
//! losses.

use std::collections::BTreeMap;
use std::path::Path;

use bptt::train::MOST_SKIPPED;
use serde_json::Value;
use tempfile::TempDir;

use super::files::files;
use super::harness::{bptt, command, folder, run};

const TRAININGS: [&str; 4] = [
    "text --file text.txt --cell lstm --layers 2 --dropout 0.2 --hidden 40 --batch 4 --sequence 8 --steps 12 --clip 1 --seed 3",
    "text --file text.txt --cell gru --layers 2 --hidden 33 --batch 5 --sequence 4 --steps 12 --accumulate 2 --seed 4",
    "timeseries --cell rnn --steps 8 --batch 100 --hidden 20 --seed 5",
    "longseq --cell gru --steps 8",
];

fn folder_with_text() -> TempDir {
    let folder = folder();
    let text: String = (0..1500).map(|i| char::from(b'a' + (i * i / 7 % 11) as u8)).collect();
    std::fs::write(folder.path().join("text.txt"), text).unwrap();
    folder
}

/// What a training leaves, and what its model says, in a process of its own; but for times.
fn trained(folder: &Path, args: &str, device: &str, threads: usize) -> BTreeMap<String, Vec<u8>> {
    let with_threads = |args: &str| {
        let mut command = command(folder, args.split_whitespace());
        run({
            command.env("BPTT_THREADS", threads.to_string());
            command
        })
        .done()
    };
    with_threads(&format!("train {args} --device {device} --checkpoint-every 4 --out run"));
    let mut left = files(&folder.join("run"));
    if !args.starts_with("timeseries") {
        let sample = with_threads(&format!("generate run --seed 7 --length 30 --device {device}"));
        left.insert("a sample".into(), sample.into_bytes());
    }
    left.retain(|name, _| !name.starts_with("checkpoints") && name != "result.json");
    std::fs::remove_dir_all(folder.join("run")).unwrap();
    left
}

#[test]
fn processes_and_threads_change_no_bit() {
    let folder = folder_with_text();
    let mut compared = 0;
    for args in TRAININGS {
        for device in ["cpu", "gpu"] {
            let first = trained(folder.path(), args, device, 1);
            assert!(first.contains_key("model.safetensors") && first.contains_key("metrics.jsonl"));
            for threads in [1, 2, 7] {
                let again = trained(folder.path(), args, device, threads);
                assert!(first.keys().eq(again.keys()), "{args} on {device}");
                for (name, bytes) in &first {
                    assert!(*bytes == again[name], "{name} of {args} on {device} with {threads} threads");
                }
                compared += 1;
            }
        }
    }
    eprintln!("{compared} runs compared, none with another bit");
}

#[test]
fn devices_differ_by_rounding() {
    let folder = folder_with_text();
    for args in TRAININGS {
        let losses = |device: &str| -> Vec<f64> {
            let out =
                bptt(folder.path(), &format!("train {args} --device {device} --out run --force --json"));
            let steps = out.events().into_iter().filter(|event| event["event"] == "step");
            steps.map(|event: Value| event["loss"].as_f64().unwrap()).collect()
        };
        let (cpu, gpu) = (losses("cpu"), losses("gpu"));
        assert!(cpu.len() >= 8 && cpu.len() == gpu.len());
        for (step, (cpu, gpu)) in cpu.iter().zip(&gpu).enumerate() {
            // Adam turns a rounding of a small gradient into one of a whole step, 0.1 at most here: the first steps, in which
            // it cannot grow, agree to the roundings of some hundred sums.
            assert!((cpu - gpu).abs() <= 1e-4 * cpu.abs(), "{args}, step {step}: {cpu}, {gpu}");
        }
    }
}

#[test]
fn the_first_steps_can_be_verified() {
    let folder = folder();
    for device in ["cpu", "gpu"] {
        let told = bptt(
            folder.path(),
            &format!("train charseq --device {device} --steps 12 --verify-determinism=5 --out run --force"),
        );
        assert_eq!(told.code, Some(0), "{told:?}");
        assert!(told.err.contains("5 steps were made twice: all bits were the same"), "{told:?}");
    }
    let ten = bptt(folder.path(), "train charseq --steps 12 --verify-determinism --out run --force");
    assert!(ten.err.contains("10 steps were made twice"), "{ten:?}");
    // As many as there are.
    let four = bptt(folder.path(), "train charseq --steps 4 --verify-determinism --out run --force --json");
    assert!(four.events().contains(&serde_json::json!({"event": "verified", "steps": 4})), "{four:?}");
}

#[test]
fn steps_that_are_not_finite_are_counted() {
    let folder = folder();
    let train = "train hihello --linear --lr 3e37 --steps 5 --skip-nonfinite --out run --force";
    let events = bptt(folder.path(), &format!("{train} --json")).events();
    assert_eq!(events.iter().filter(|event| event["event"] == "skipped").count(), 1);
    let done = events.last().unwrap();
    assert_eq!((&done["event"], &done["skipped"]), (&"done".into(), &1.into()), "{done}");
    let told = bptt(folder.path(), train).done();
    assert!(told.contains("1 step was left out"), "{told}");
    // A training in which nothing else comes is ended.
    for args in ["hihello --lr 1e38 --linear", "timeseries --lr 1e15 --optimizer sgd"] {
        let args = format!("train {args} --skip-nonfinite --out lasting --json");
        let run = bptt(folder.path(), &args);
        assert_eq!(run.code, Some(1), "{run:?}");
        let events = run.events();
        let skipped: Vec<u64> = events.iter().filter_map(|event| event["skipped"].as_u64()).collect();
        assert!(skipped.iter().copied().eq(1..=MOST_SKIPPED), "{skipped:?}");
        let message = events.last().unwrap()["message"].as_str().unwrap();
        let last = events.iter().rev().find_map(|event| event["step"].as_u64()).unwrap();
        let end = format!(
            " is not finite (step {last}, the last of {MOST_SKIPPED} in a row that were left out; try a smaller --lr)"
        );
        assert!(message.ends_with(&end), "{message}");
    }
    let help = bptt(folder.path(), "train --help").done();
    assert!(help.contains(&format!("{MOST_SKIPPED} in a row end")), "{help}");
    // Without it they end the training, and a resumed run keeps the setting.
    let ended = bptt(folder.path(), "train hihello --linear --lr 2e38 --steps 5 --out other");
    assert!(ended.failed(1).contains("step 2;"), "{ended:?}");
    let settings = std::fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    assert!(settings.contains("skip_nonfinite = true"), "{settings}");
}
