//! Runs that came from somewhere else, or whose files were changed: the user is told so, and the runs stay as they are.

use std::fs;

use serde_json::{Value, json};

use super::files::files;
use super::harness::{bptt, folder};
use super::run_files::*;

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
