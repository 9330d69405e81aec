//! What a training says and leaves behind: models that can be used at once, folders, notes, whole evaluations.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::files::files;
use super::harness::{bptt, command, folder, listing, run};

/// The model's size, as its `config.json` says.
fn hidden(folder: &Path) -> Value {
    let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    config["hidden"].clone()
}

/// Starts a training and kills it when there is a checkpoint.
fn killed_after_a_checkpoint(folder: &Path, args: &str) {
    let mut command = command(folder, args.split_whitespace());
    let mut child =
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let checkpoints = folder.join("run/checkpoints");
    let there = || {
        fs::read_dir(&checkpoints).is_ok_and(|mut entries| {
            entries.any(|entry| {
                // Not one of a run before it, which has other steps.
                entry.unwrap().file_name().to_str().unwrap().ends_with("0.safetensors")
            })
        })
    };
    while !there() {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(5));
    }
    // The model follows its checkpoint at once.
    std::thread::sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_that_is_killed_has_a_model_of_its_own() {
    let folder = folder();
    bptt(folder.path(), "train text --hidden 8 --steps 3 --out run").done();
    bptt(folder.path(), "report run").done();
    killed_after_a_checkpoint(
        folder.path(),
        "train text --hidden 16 --steps 100000000 --checkpoint-every 10 --out run --force",
    );
    assert_eq!(hidden(&folder.path().join("run")), 16);
    bptt(folder.path(), "generate run --length 3").done();
    for old in ["result.json", "report.html", "plots/loss.png"] {
        assert!(!folder.path().join("run").join(old).exists(), "{old} of the old run is there");
    }
}

#[test]
fn folders_that_may_be_taken() {
    let folder = folder();
    let path = folder.path();
    // Empty, or left by a process that ended before it began.
    fs::create_dir_all(path.join("empty")).unwrap();
    fs::create_dir_all(path.join("locked")).unwrap();
    fs::write(path.join("locked/lock"), "").unwrap();
    for name in ["empty", "locked"] {
        bptt(path, &format!("train hihello --steps 1 --out {name}")).done();
    }
    fs::create_dir_all(path.join("foreign/checkpoints")).unwrap();
    for file in ["foreign/config.toml", "foreign/config.json", "foreign/checkpoints/step-9.safetensors"] {
        fs::write(path.join(file), "mine").unwrap();
    }
    let says = bptt(path, "train hihello --steps 1 --out foreign --force").failed(3).to_string();
    assert!(says.contains("foreign: is no run of bptt, which --force does not overwrite"), "{says}");
    assert_eq!(fs::read_to_string(path.join("foreign/checkpoints/step-9.safetensors")).unwrap(), "mine");
    // Nothing is left of a training whose data cannot be read.
    bptt(path, "train text --file missing --out new").failed(3);
    assert!(!path.join("new").exists());
}

#[test]
fn the_newest_model_of_text_is_generated_from() {
    let folder = folder();
    bptt(folder.path(), "train hihello --steps 1").done();
    bptt(folder.path(), "train timeseries --steps 1").done();
    let events = bptt(folder.path(), "generate --length 1 --json").events();
    assert_eq!(events[0]["model"], "runs/hihello-1");
}

#[test]
fn an_evaluation_is_of_the_whole_text() {
    let folder = folder();
    let text: String = (0..337).map(|i| char::from(b'a' + (i * i % 7) as u8)).collect();
    fs::write(folder.path().join("text"), &text).unwrap();
    bptt(folder.path(), "train text --file text --steps 20 --hidden 8 --out run").done();
    let eval = |options: &str| {
        bptt(folder.path(), &format!("eval run --file text --json {options}")).events().pop().unwrap()
    };
    let whole = eval("--sequence 336");
    assert_eq!(whole["tokens"], 336);
    for options in ["", "--sequence 1", "--sequence 100", "--sequence 335", "--sequence 5000"] {
        let event = eval(options);
        assert_eq!(event["tokens"], 336, "{options}");
        let [a, b] = [&event, &whole].map(|event| event["loss"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-5 * b, "{options}: {a} and {b}");
    }
}

#[test]
fn a_model_of_bytes_writes_bytes() {
    let folder = folder();
    let bytes: Vec<u8> = (0..2000u32).map(|i| if i % 2 == 0 { 0xFF } else { 0x80 }).collect();
    fs::write(folder.path().join("binary"), bytes).unwrap();
    bptt(folder.path(), "train text --file binary --tokens bytes --steps 60 --hidden 8 --lr 0.05 --out run")
        .done();
    let mut command = command(folder.path(), "generate run --temperature 0 --length 40".split(' '));
    let out = command.output().unwrap();
    assert_eq!((out.status.code(), out.stdout.len()), (Some(0), 42), "a prompt, 40 bytes, a line end");
    assert!(out.stdout[2..40].iter().all(|byte| [0xFF, 0x80].contains(byte)), "{:?}", out.stdout);
}

#[test]
fn what_the_user_should_know_is_said() {
    let folder = folder();
    let path = folder.path();
    let says = |args: &str, note: &str| {
        let run = run(command(path, args.split_whitespace()));
        assert!(run.code == Some(0) && run.err.contains(note), "bptt {args}: {run:?}");
    };
    says("train text --steps 2 --hidden 4 --dropout 0.5 --out one", "there is only one: it does nothing");
    bptt(path, "train text --steps 40 --hidden 4 --lr 3 --validate-every 1 --patience 2 --out early").done();
    says(
        "train --resume early",
        "it stopped early, after 2 validations without a better loss: a larger --patience",
    );
    // Settings with which nothing is trained are not the run's.
    let before = files(&path.join("early"));
    says("train --resume early --steps 80 --lr 0.1", "it stopped early, after 2 validations");
    assert!(files(&path.join("early")) == before);
    says(
        "train text --steps 2 --hidden 4 --out sentence",
        "no --file was named: the text is the sentence of longseq, 180 characters\n",
    );
    bptt(path, "train hihello --steps 5 --schedule cosine --out cosine").done();
    says("train --resume cosine --steps 9", "made for 5 steps and is now stretched to 9");
    for (args, message) in [
        ("train hihello --warmup 200", "--warmup must be at most the steps, 100, got 200"),
        ("train hihello --loss-scale 8", "--loss-scale is for the precision f16 alone"),
        ("train hihello --profile --quiet", "'--profile' cannot be used with '--quiet'"),
        ("train text --lr-every 5", "--lr-every is for --schedule step; the schedule here is constant"),
        (
            "train text --schedule cosine --lr-gamma 0.5",
            "--lr-gamma is for --schedule step or exponential or plateau; the schedule here is cosine",
        ),
        ("train hihello --lr-gamma 0.5", "--lr-gamma is for --schedule step or exponential; the schedule"),
        (
            "train text --schedule step --lr-patience 1",
            "--lr-patience is for --schedule plateau; the schedule",
        ),
        ("train text --lr-gamma 1", "must be a number above 0 and below 1"),
        ("train hihello --require-exact --out new", "--require-exact is for a run that goes on"),
    ] {
        assert!(bptt(path, args).failed(2).contains(message), "{args}");
    }
}

/// What a run has used stays in its settings when it goes on with another schedule.
#[test]
fn settings_of_another_schedule_may_be_in_a_file() {
    let folder = folder();
    let path = folder.path();
    bptt(path, "train hihello --steps 4 --schedule step --lr-every 2 --lr-gamma 0.5 --out run").done();
    bptt(path, "train --resume run --steps 6 --schedule constant").done();
    bptt(path, "train --resume run --steps 8").done();
    bptt(path, "train --config run/config.toml --schedule cosine --out other").done();
    bptt(path, "train --resume run --steps 9 --schedule step --lr-gamma 0.4").done();
}

#[test]
fn the_number_of_threads_is_a_number() {
    let folder = folder();
    for asked in ["abc", "0", "-1", "1.5"] {
        let mut command = command(folder.path(), ["train", "hihello", "--steps", "1"]);
        command.env("BPTT_THREADS", asked);
        let says = format!("BPTT_THREADS must be a whole number of at least 1, got '{asked}'");
        assert_eq!(run(command).failed(2), says);
    }
    let mut command = command(folder.path(), ["train", "hihello", "--steps", "1"]);
    command.env("BPTT_THREADS", "");
    run(command).done();
}

#[test]
fn schedules_have_defaults_that_suit_the_training() {
    let folder = folder();
    let rates = |args: &str| -> Vec<f64> {
        bptt(folder.path(), &format!("train hihello --steps 30 --out run --force {args}")).done();
        let rows = fs::read_to_string(folder.path().join("run/metrics.csv")).unwrap();
        rows.lines().skip(1).map(|row| row.split(',').nth(2).unwrap().parse().unwrap()).collect()
    };
    let exponential = rates("--schedule exponential");
    assert!(
        (exponential[0] - 0.1).abs() < 1e-12 && (exponential[29] / 0.001).log2().abs() < 0.5,
        "{exponential:?}"
    );
    let step = rates("--schedule step");
    assert!(
        [(9, 0.1), (10, 0.01), (20, 0.001)].iter().all(|(k, lr)| (step[*k] - lr).abs() < 1e-12),
        "{step:?}"
    );
    // A validation every third step, all of them no better than the first: the rate falls.
    let args = "train text --hidden 4 --steps 30 --lr 1 --schedule plateau --out plateau";
    bptt(folder.path(), args).done();
    let rows = fs::read_to_string(folder.path().join("plateau/metrics.csv")).unwrap();
    assert!(rows.lines().last().unwrap().split(',').nth(2).unwrap().parse::<f64>().unwrap() < 0.2, "{rows}");
}

#[test]
fn forecasts_stand_beside_what_was_known_and_what_came() {
    let folder = folder();
    let path = folder.path();
    let values: Vec<f64> = (0..60).map(|i| f64::from(i * i % 23) + 0.5).collect();
    let rows: String = values.iter().map(|value| format!("{value},{}\n", value * 2.0)).collect();
    fs::write(path.join("table.csv"), format!("a,b\n{rows}")).unwrap();
    let train =
        "train timeseries --csv table.csv --target a --window 4 --horizon 3 --steps 3 --hidden 2 --out run";
    bptt(path, train).done();
    let out = bptt(path, "predict run --csv table.csv").done();
    let lines: Vec<Vec<&str>> = out.lines().skip(1).map(|line| line.split(',').collect()).collect();
    // Of every window of 4 rows the row 3 behind its last, three of them behind the end.
    assert_eq!(lines.len(), 57);
    for (line, row) in lines.iter().zip(6..) {
        assert_eq!(line[0], (row + 1).to_string());
        assert_eq!(line[1], values.get(row).map(f64::to_string).unwrap_or_default());
        assert_eq!(line[3], values[row - 3].to_string(), "row {row}: the target where the window ends");
    }
    // The test part of training: rows 43 to 60, the first 42 being trained on.
    let errors = |row: usize| (values[row - 3] - values[row]).abs();
    let mae = (42..60).map(errors).sum::<f64>() / 18.0;
    let result: Value = serde_json::from_slice(&fs::read(path.join("run/result.json")).unwrap()).unwrap();
    assert!((result["naive_mae"].as_f64().unwrap() - mae).abs() < 1e-9, "{result}: {mae}");
}

/// The sizes follow from what the adapter can bind: 16 kB a character for the gates of 1024 units.
#[test]
fn what_cannot_fit_is_refused_before_anything_is_touched() {
    let folder = folder();
    let devices = bptt(folder.path(), "devices --json").events();
    let limit = devices[0]["limits"]["largest binding"].as_u64().unwrap_or(128 << 20);
    let characters = (limit / 16_384 * 5 / 4) as usize;
    let text: String = (0..12 * characters).map(|i| char::from(b'a' + (i * i / 3 % 8) as u8)).collect();
    std::fs::write(folder.path().join("book.txt"), text).unwrap();
    bptt(folder.path(), "train hihello --steps 2 --out old").done();
    let before = listing(folder.path());
    let batch = characters / 64;
    for out in ["new", "old --force"] {
        let args =
            format!("train text --file book.txt --hidden 1024 --batch {batch} --sequence 64 --device gpu");
        let run = bptt(folder.path(), &format!("{args} --out {out}"));
        let sentence = run.failed(2);
        assert!(
            sentence.contains("a kernel can use at most") && sentence.contains("; --accumulate "),
            "{sentence}"
        );
        assert_eq!(listing(folder.path()), before);
    }
}
