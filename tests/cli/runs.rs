//! The folder of a run: a training that is killed, stopped or refused, and goes on.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use xxhash_rust::xxh3::Xxh3;

use super::files::files;
use super::harness::{Run, bptt, command, folder, run, wait};

/// Names, shapes and values of a checkpoint.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

fn read_checkpoint(bytes: &[u8]) -> (Value, Tensors) {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let progress = serde_json::from_str(&header.metadata().as_ref().unwrap()["bptt"]).unwrap();
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let part = |(name, view): (String, TensorView<'_>)| (name, (view.shape().to_vec(), view.data().to_vec()));
    (progress, tensors.tensors().into_iter().map(part).collect())
}

/// A checkpoint with other contents and the checksum that belongs to them.
fn change_checkpoint(path: &Path, change: impl FnOnce(&mut Value, &mut Tensors)) {
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
fn start(folder: &Path, args: &str) -> Child {
    let mut command = command(folder, args.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits for a checkpoint of a step or of a later one.
fn reaches(run: &Path, step: u64) {
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
fn limited(folder: &Path, limit: &str, args: &str) -> Run {
    let program = command(folder, args.split_whitespace());
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{limit} && exec \"$0\" \"$@\"")])
        .arg(program.get_program())
        .args(program.get_args());
    shell.current_dir(folder).envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
    run(shell)
}

/// A text that is trained with everything that a checkpoint must hold.
const TEXT: &str = "train text --hidden 12 --layers 2 --dropout 0.2 --batch 2 --sequence 8 --steps 300 --validate-every 20 \
                    --checkpoint-every 5 --schedule cosine --warmup 10 --patience 40";
const SERIES: &str = "train timeseries --hidden 4 --batch 200 --steps 120 --checkpoint-every 2";

/// `BPTT_KILLS` asks for more of them.
#[test]
fn killed_at_any_moment() {
    let kills = std::env::var("BPTT_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(12);
    let folder = folder();
    let mut random = 1u64;
    for (kills, args) in [(kills - kills / 3, TEXT), (kills / 3, SERIES)] {
        bptt(folder.path(), &format!("{args} --out whole")).done();
        let whole = ended(folder.path(), "whole");
        let next = || match folder.path().join("run/config.toml").exists() {
            true => "train --resume run".to_string(),
            false => format!("{args} --out run --force"),
        };
        for _ in 0..kills {
            if folder.path().join("run/result.json").exists() {
                assert_equal(&ended(folder.path(), "run"), &whole);
                fs::remove_dir_all(folder.path().join("run")).unwrap();
            }
            let mut child = start(folder.path(), &next());
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            std::thread::sleep(Duration::from_millis((random >> 33) % 300));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        bptt(folder.path(), &next()).done();
        assert_equal(&ended(folder.path(), "run"), &whole);
        for name in ["whole", "run"] {
            fs::remove_dir_all(folder.path().join(name)).unwrap();
        }
    }
}

/// Between the lock and the settings, where a random moment seldom falls.
#[test]
fn killed_before_it_began() {
    let folder = folder();
    let run = folder.path().join("run");
    fs::create_dir(&run).unwrap();
    for name in ["lock", ".bptt-a1b2c3"] {
        fs::write(run.join(name), "").unwrap();
    }
    bptt(folder.path(), "train hihello --steps 1 --out run").done();
    let mut names: Vec<_> = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert!(!names.contains(&".bptt-a1b2c3".into()), "{names:?}");
}

#[cfg(unix)]
#[test]
fn stopped_and_gone_on_with() {
    let folder = folder();
    let path = folder.path();
    // Long enough not to end before it is stopped.
    let text = TEXT.replace("--steps 300", "--steps 600");
    bptt(path, &format!("{text} --out whole")).done();
    let mut child = start(path, &format!("{text} --out run"));
    reaches(&path.join("run"), 5);
    let line = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    assert_eq!(wait(&mut child), Some(130));
    assert!(!path.join("run/result.json").exists());
    // The model so far.
    bptt(path, "generate run --length 5").done();
    let out = bptt(path, "train --resume run").done();
    assert!(out.contains(", from step ") && out.contains("600 steps in"), "{out}");
    assert_equal(&ended(path, "run"), &ended(path, "whole"));
    // It has ended: nothing is trained.
    let before = files(&path.join("run"));
    bptt(path, "train --resume run").done();
    assert!(files(&path.join("run")) == before);
    // Of a longer one the end is not the end.
    let mut child = start(path, "train --resume run --steps 100000000");
    reaches(&path.join("run"), 610);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!path.join("run/result.json").exists());
}

#[test]
fn two_processes_at_once() {
    let folder = folder();
    let path = folder.path();
    let mut first = start(path, "train text --hidden 8 --steps 100000000 --checkpoint-every 5 --out run");
    reaches(&path.join("run"), 10);
    for args in ["train --resume run", "train hihello --out run --force"] {
        let sentence = bptt(path, args).failed(3).to_string();
        assert_eq!(
            sentence,
            "run: another process is training in it: wait until it ends, or name another folder"
        );
    }
    assert_eq!(first.try_wait().unwrap(), None);
    first.kill().unwrap();
    first.wait().unwrap();
    let refused = bptt(path, "train --resume run --steps 1");
    assert!(refused.failed(2).contains("steps are done already"), "{refused:?}");
}

#[test]
fn force_replaces_a_run_once_there_is_another() {
    let folder = folder();
    let path = folder.path();
    bptt(path, "train hihello --steps 9 --checkpoint-every 3 --out run").done();
    let before = files(&path.join("run"));
    let sentence = bptt(path, "train hihello --out run").failed(2).to_string();
    assert!(
        sentence.starts_with("run exists already; name another --out, go on with it with --resume run"),
        "{sentence}"
    );
    assert_eq!(bptt(path, "train text --lr 2e38 --out run --force").code, Some(1));
    assert!(files(&path.join("run")) == before);
    bptt(path, "train text --steps 2 --hidden 8 --out run --force").done();
    bptt(path, "train text --steps 2 --hidden 8 --out other").done();
    assert_equal(&ended(path, "run"), &ended(path, "other"));
    let names = |name: &str| files(&path.join(name)).into_keys().collect::<Vec<_>>();
    assert_eq!(names("run"), names("other"));
}

#[test]
fn what_cannot_change_when_a_run_goes_on() {
    let folder = folder();
    let path = folder.path();
    bptt(path, "train text --hidden 8 --steps 4 --schedule plateau --out run").done();
    let before = files(&path.join("run"));
    for (option, says) in [
        ("--hidden 9", "--hidden cannot change when a run goes on: it is 8"),
        ("--cell gru", "--cell cannot change when a run goes on: it is \"lstm\""),
        ("--embedding 9", "--embedding cannot change when a run goes on: it is 8"),
        ("--seed 1", "--seed cannot change when a run goes on: it is 0"),
        ("--optimizer sgd", "--optimizer cannot change when a run goes on: it is \"adam\""),
        ("--sequence 3", "--sequence cannot change when a run goes on: it is "),
        ("--dropout 0.1", "--dropout cannot change when a run goes on: it is 0.0"),
        ("--lr 1", "--lr cannot change when a run goes on: it is 0.002"),
        ("--steps 3", "4 steps are done already; --steps, 3, counts from the beginning"),
        ("--window 3", "--window is no option of text"),
    ] {
        let sentence = bptt(path, &format!("train --resume run --steps 6 {option}")).failed(2).to_string();
        // The last of two --steps counts, or clap refuses them.
        assert!(sentence.starts_with(says) || option.starts_with("--steps"), "{option}: {sentence}");
        assert!(files(&path.join("run")) == before, "{option} changed something");
    }
    assert!(
        bptt(path, "train hihello --resume run")
            .failed(2)
            .contains("run/config.toml is of the experiment text")
    );
    bptt(path, "train --resume run --steps 6 --schedule constant --lr 0.01 --clip 0.5").done();
    let config = fs::read_to_string(path.join("run/config.toml")).unwrap();
    assert!(
        config.contains("steps = 6") && config.contains("lr = 0.01") && config.contains("clip = 0.5"),
        "{config}"
    );
}

#[test]
fn other_bits() {
    let folder = folder();
    let path = folder.path();
    bptt(path, "train hihello --steps 4 --out run").done();
    change_checkpoint(&path.join("run/checkpoints/step-4.safetensors"), |progress, _| {
        progress["platform"]["driver"] = json!("an older one");
    });
    let before = files(&path.join("run"));
    let sentence = bptt(path, "train --resume run --steps 6 --require-exact").failed(3).to_string();
    assert!(
        sentence
            .starts_with("run: cannot go on with the same bits: it was made with driver an older one, now "),
        "{sentence}"
    );
    assert!(files(&path.join("run")) == before);
    let went_on = bptt(path, "train --resume run --steps 6");
    assert!(went_on.err.contains("the run was made with driver an older one, now "), "{went_on:?}");
    went_on.done();
    bptt(path, "train --resume run --steps 7 --require-exact").done();
}

#[test]
fn folders_that_are_no_run() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("file"), "").unwrap();
    fs::create_dir(path.join("empty")).unwrap();
    fs::create_dir(path.join("site")).unwrap();
    fs::write(path.join("site/config.toml"), "baseURL = 'https://example.org/'\n").unwrap();
    let before = files(path);
    for (name, says) in [
        ("none", "none: no such folder; name the folder of a run"),
        ("file", "file: is no folder; name the folder of a run"),
        ("empty", "empty: holds no config.toml: it is no run, or one that ended before it began"),
        ("site", "site/config.toml: has no key experiment"),
    ] {
        let sentence = bptt(path, &format!("train --resume {name}")).failed(3).to_string();
        assert!(sentence.starts_with(says), "{sentence}");
    }
    assert!(files(path) == before);
    // A run that was killed before its first checkpoint begins anew.
    bptt(path, "train hihello --steps 6 --out whole").done();
    fs::create_dir(path.join("early")).unwrap();
    fs::copy(path.join("whole/config.toml"), path.join("early/config.toml")).unwrap();
    fs::write(path.join("early/metrics.jsonl"), "{\"step\":1,\"lo").unwrap();
    fs::write(path.join("early/.bptt-xxxx"), "half a checkp").unwrap();
    bptt(path, "train --resume early").done();
    assert_equal(&ended(path, "early"), &ended(path, "whole"));
}

#[test]
fn checkpoints_of_something_else() {
    let folder = folder();
    let path = folder.path();
    bptt(path, "train text --hidden 8 --steps 4 --checkpoint-every 2 --out run").done();
    bptt(path, "train text --hidden 8 --layers 2 --steps 4 --out deep").done();
    bptt(path, "train text --hidden 8 --optimizer sgd --steps 4 --out sgd").done();
    bptt(path, "train timeseries --steps 4 --out series").done();
    let file = path.join("run/checkpoints/step-4.safetensors");
    let good = fs::read(&file).unwrap();
    let refused = |says: &str| {
        let before = files(&path.join("run"));
        let sentence = bptt(path, "train --resume run --steps 6").failed(3).to_string();
        assert!(sentence.starts_with(says), "{sentence}\nis not\n{says}");
        assert!(files(&path.join("run")) == before, "something was changed: {sentence}");
    };
    for (name, says) in [
        ("deep", "run: its checkpoint is of another model than its settings and data make"),
        ("sgd", "run: the state does not fit: "),
        ("series", "run: the data are not those that it was trained on"),
    ] {
        fs::copy(path.join(name).join("checkpoints/step-4.safetensors"), &file).unwrap();
        refused(says);
    }
    type Change = fn(&mut Value, &mut Tensors);
    let changes: [(Change, &str); 9] = [
        // Not passed over, and so not removed.
        (
            |progress, _| (progress["format"], progress["new"]) = (json!(2), json!(3)),
            "run/checkpoints/step-4.safetensors: cannot be read by this version of bptt: it has format 2, not 1",
        ),
        (
            |progress, _| progress["new"] = json!(3),
            "run/checkpoints/step-4.safetensors: cannot be read by this version of bptt: unknown field `new`",
        ),
        (
            |_, tensors| drop(tensors.insert("other.x".into(), (vec![0], Vec::new()))),
            "run/checkpoints/step-4.safetensors: cannot be read by this version of bptt: it has an unknown tensor \"other.x\"",
        ),
        (
            |_, tensors| drop(tensors.insert("model.x".into(), (vec![1 << 40, 0], Vec::new()))),
            "run: the checkpoint's parameters are not the model's",
        ),
        (
            |_, tensors| drop(tensors.remove("model.fc.bias")),
            "run: the checkpoint's parameters are not the model's",
        ),
        (
            |_, tensors| drop(tensors.remove("best.fc.bias")),
            "run: the checkpoint's parameters are not the model's",
        ),
        (
            |_, tensors| {
                tensors.get_mut("model.fc.bias").unwrap().1[..4].copy_from_slice(&f32::NAN.to_le_bytes())
            },
            "run: a parameter of the checkpoint is not finite",
        ),
        (
            |_, tensors| drop(tensors.remove("carried.h")),
            "run: the checkpoint's carried states are not the model's",
        ),
        (
            |progress, _| progress["position"] = json!(u64::MAX),
            "run: the checkpoint stands at chunk 18446744073709551615",
        ),
    ];
    for (change, says) in changes {
        fs::write(&file, &good).unwrap();
        change_checkpoint(&file, change);
        refused(says);
    }
    // As far as the header goes: more than there is memory for.
    let huge = |shape: &str, end: u64| {
        let header =
            format!("{{\"model.x\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}");
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 64]].concat()
    };
    for bytes in [
        huge("[1099511627776]", 1 << 42),
        huge("[4611686018427387904,4611686018427387904]", 64),
        huge("[4611686018427387903]", u64::MAX - 3),
        huge("[16]", 64),
        vec![0xFF; 1000],
    ] {
        fs::write(&file, bytes).unwrap();
        let run = limited(path, "ulimit -v 4000000", "train --resume run");
        assert!(
            run.err.starts_with("run/checkpoints/step-4.safetensors: is no whole checkpoint: "),
            "{run:?}"
        );
        assert_eq!((run.code, fs::read(&file).unwrap() == good), (Some(0), false), "{run:?}");
    }
}

/// A run that came from somebody else may lead out of its folder.
#[cfg(unix)]
#[test]
fn links_in_a_run() {
    use std::os::unix::fs::symlink;
    let folder = folder();
    let path = folder.path();
    fs::create_dir(path.join("mine")).unwrap();
    fs::write(path.join("mine/step-1.safetensors"), "mine").unwrap();
    fs::write(path.join("mine/file"), "mine").unwrap();
    let before = files(&path.join("mine"));
    for name in ["metrics.jsonl", "metrics.csv", "lock", "checkpoints", "plots"] {
        bptt(path, "train hihello --steps 2 --out run").done();
        let link = path.join("run").join(name);
        let is_folder = link.is_dir();
        if is_folder {
            fs::remove_dir_all(&link).unwrap()
        } else {
            fs::remove_file(&link).unwrap()
        }
        symlink(path.join(if is_folder { "mine" } else { "mine/file" }), &link).unwrap();
        for args in ["train --resume run --steps 4", "train hihello --out run --force"] {
            let sentence = bptt(path, args).failed(3).to_string();
            assert!(sentence.contains(&format!("run/{name}: is a symbolic link")), "{sentence}");
        }
        assert!(files(&path.join("mine")) == before, "{name}");
        fs::remove_dir_all(path.join("run")).unwrap();
    }
}

#[test]
fn data_that_are_not_as_they_were() {
    let folder = folder();
    let path = folder.path();
    let text = "what is said again and again ".repeat(10);
    let table: String = (0..60).map(|row| format!("{row},{}\n", row % 7)).collect();
    for (args, data, other) in [
        ("train text --hidden 8 --file data", &text, text.replacen("said", "told", 1)),
        ("train timeseries --csv data", &table, table.replacen("\n9,2", "\n9,3", 1)),
    ] {
        fs::write(path.join("data"), data).unwrap();
        bptt(path, &format!("{args} --steps 4 --out run")).done();
        let before = files(&path.join("run"));
        for resume in ["train --resume run", "train --resume run --steps 6"] {
            fs::write(path.join("data"), &other).unwrap();
            let sentence = bptt(path, resume).failed(3).to_string();
            assert!(sentence.starts_with("run: the data are not those that it was trained on"), "{sentence}");
            fs::remove_file(path.join("data")).unwrap();
            let sentence = bptt(path, resume).failed(3).to_string();
            assert!(sentence.ends_with("data: no such file"), "{sentence}");
        }
        assert!(files(&path.join("run")) == before);
        // They may have been moved.
        fs::write(path.join("moved"), data).unwrap();
        let option = args.rsplit(' ').nth(1).unwrap();
        bptt(path, &format!("train --resume run {option} moved --steps 6")).done();
        bptt(path, "train --resume run --steps 7").done();
        fs::remove_dir_all(path.join("run")).unwrap();
    }
}

/// A limit on the size of a file is met as a full disk is.
#[cfg(target_os = "linux")]
#[test]
fn no_room_for_a_checkpoint() {
    let folder = folder();
    let path = folder.path();
    let args = "train text --hidden 64 --checkpoint-every 5 --validate-every 100 --steps";
    bptt(path, &format!("{args} 20 --out whole")).done();
    bptt(path, &format!("{args} 10 --out run")).done();
    let before = files(&path.join("run"));
    let full = "trap '' XFSZ && ulimit -f 64";
    let sentence = limited(path, full, "train --resume run --steps 20").failed(3).to_string();
    assert_eq!(
        sentence,
        "run/checkpoints/step-15.safetensors: cannot be written: File too large (os error 27)"
    );
    let after = files(&path.join("run"));
    for (name, bytes) in &before {
        let kept = name == "config.toml" || after[name] == *bytes;
        assert!(kept || name.starts_with("metrics"), "{name} has changed");
    }
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    bptt(path, "train --resume run").done();
    let [mut got, mut want] = ["run", "whole"].map(|name| ended(path, name));
    // The shorter training was validated at its end.
    for all in [&mut got, &mut want] {
        all.retain(|name, _| name.starts_with("tensor optimizer") || name.starts_with("tensor model"));
    }
    assert_equal(&got, &want);
    // Of a run that cannot be saved nothing is left.
    assert_eq!(limited(path, full, &format!("{args} 10 --out new")).code, Some(3));
    assert!(!path.join("new").exists());
}

#[test]
fn a_table_is_told_of_and_its_names_stay_on_a_line() {
    let folder = folder();
    let path = folder.path();
    let rows: String = (0..40).map(|i| format!("2024-01-{i};{i};{}\n", (i * i) % 17)).collect();
    std::fs::write(path.join("t.csv"), format!("sep=;\nDate;\"a\nb\";c\n{rows};;\n")).unwrap();
    let train = "train timeseries --csv t.csv --target 2 --scaler original --batch 8 --steps 2 --out run";
    let trained = bptt(path, train);
    let read = "40 rows of a\\nb, c (names from line 2); forecast a\\nb, 1 row ahead; rows 1 to 28 train, 29 to 40 test\n\
                left out Date: no numbers in it\n";
    assert!(trained.err.ends_with(read), "{trained:?}");
    trained.done();
    let forecasts = std::fs::read_to_string(path.join("run/forecasts.csv")).unwrap();
    assert!(forecasts.starts_with("# a b: row from 1, the oldest first\npart,row,"), "{forecasts}");
    for args in ["predict run --csv t.csv", "eval run --csv t.csv"] {
        let run = bptt(path, args);
        assert!(run.err.contains("leaks into the inputs"), "{run:?}");
        run.done();
    }
}
