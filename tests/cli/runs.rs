//! The folder of a run: a training that is killed, stopped or refused, and goes on.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::files::files;
use super::harness::{bptt, folder, wait};
use super::run_files::*;

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

/// Between the last checkpoint and the result, where a random moment seldom falls.
#[test]
fn killed_before_it_ended() {
    let folder = folder();
    bptt(folder.path(), &format!("{TEXT} --out run")).done();
    let whole = ended(folder.path(), "run");
    let run = folder.path().join("run");
    fs::remove_file(run.join("result.json")).unwrap();
    fs::write(run.join(".bptt-a1b2c3"), "").unwrap();
    bptt(folder.path(), "train --resume run").done();
    assert_equal(&ended(folder.path(), "run"), &whole);
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
    let failed = limited(path, full, "train --resume run --steps 20");
    assert_eq!(
        (failed.code, failed.err.as_str()),
        (
            Some(3),
            "no --file was named: the text is the sentence of longseq, 180 characters\n\
             error: run/checkpoints/step-15.safetensors: cannot be written: File too large (os error 27)\n"
        )
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
