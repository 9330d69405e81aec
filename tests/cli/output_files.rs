//! Where files go whose path is a link, a device or a pipe.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::harness::{bptt, command, folder};

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().unwrap().is_symlink()
}

#[test]
fn the_file_that_a_link_names_is_replaced() {
    let folder = folder();
    let path = folder.path();
    bptt(path, "train hihello --steps 2 --out run").done();
    fs::create_dir(path.join("kept")).unwrap();
    for (args, name) in [
        ("check --only binary --device cpu --json", "c.json"),
        ("bench dispatch --only submit --seconds 0.01 --device cpu --json", "b.json"),
        ("report run --out", "r.html"),
        ("graph hihello --out", "g.svg"),
        ("trace hihello --out", "t.json"),
        ("convert run/model.safetensors --to bf16 --force --out", "m.safetensors"),
    ] {
        let (link, target) = (path.join(name), path.join("kept").join(name));
        symlink(Path::new("kept").join(name), &link).unwrap();
        // Once there is no such file yet, and once an old one.
        for old in [None, Some("old")] {
            old.inspect(|old| fs::write(&target, old).unwrap());
            bptt(path, &format!("{args} {name}")).done();
            assert!(is_link(&link) && !is_link(&target), "{args}");
            assert!(fs::read(&target).unwrap().len() > 100, "{args}");
        }
    }
    assert_eq!(fs::read_dir(path.join("kept")).unwrap().count(), 6, "nothing else is left there");
    // A link that leads nowhere.
    symlink("round", path.join("round")).unwrap();
    let run = bptt(path, "check --only binary --device cpu --json round");
    assert!(run.failed(3).starts_with("round: cannot be written: "), "{run:?}");
}

/// Its files may be links to this machine's own, made by somebody else.
#[test]
fn a_link_in_a_run_is_not_followed() {
    let folder = folder();
    let path = folder.path();
    bptt(path, "train hihello --steps 2 --out run").done();
    fs::write(path.join("mine"), "mine").unwrap();
    for name in ["report.html", "result.json", "config.json", "model.safetensors", "plots/loss.png"] {
        let link = path.join("run").join(name);
        let _ = fs::remove_file(&link);
        symlink(path.join("mine"), &link).unwrap();
    }
    bptt(path, "train hihello --out run --steps 3 --force").done();
    symlink(path.join("mine"), path.join("run/report.html")).unwrap();
    bptt(path, "report run").done();
    bptt(path, "plot run").done();
    assert_eq!(fs::read_to_string(path.join("mine")).unwrap(), "mine");
    assert!(!is_link(&path.join("run/report.html")) && !is_link(&path.join("run/model.safetensors")));
}

#[test]
fn into_a_pipe_is_written_once() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for args in ["check --only binary,tanh", "bench dispatch --only submit,dispatch --seconds 0.01"] {
        let from = pipe.clone();
        let reader = std::thread::spawn(move || fs::read(from).unwrap());
        bptt(folder.path(), &format!("{args} --device cpu --json pipe")).done();
        assert!(pipe.symlink_metadata().unwrap().file_type().is_fifo(), "{args}");
        let document: Value = serde_json::from_slice(&reader.join().unwrap()).unwrap();
        let list = document["findings"].as_array().or(document["results"].as_array());
        assert!(list.is_some_and(|list| list.len() >= 2), "{document}");
    }
}

/// By a link of its own, so that nothing of the machine is replaced should this fail.
#[cfg(target_os = "linux")]
#[test]
fn its_own_output_and_a_full_device() {
    let folder = folder();
    let path = folder.path();
    for (name, device) in [("out.json", "/dev/stdout"), ("full.json", "/dev/full")] {
        symlink(device, path.join(name)).unwrap();
    }
    let args = "check --only binary --device cpu --json out.json";
    // A file behind what has been printed before, and a pipe.
    let to_file = bptt(path, args).done();
    let to_pipe = command(path, args.split(' ')).output().unwrap();
    assert!(to_pipe.status.success(), "{to_pipe:?}");
    for out in [to_file, String::from_utf8(to_pipe.stdout).unwrap()] {
        let (begin, end) = (out.find("\n{\n").unwrap(), out.find("\n}\n").unwrap());
        let document: Value = serde_json::from_str(&out[begin..end + 3]).unwrap();
        assert_eq!(document["verdict"], "pass");
        assert!(out.starts_with("checking ") && out[end..].contains("the check passes"), "{out}");
        assert_eq!(out.matches("\"verdict\"").count(), 1, "{out}");
    }
    let full = bptt(path, "check --only binary --device cpu --json full.json");
    assert_eq!(full.code, Some(3), "{full:?}");
    // Drivers may complain before.
    let last = full.err.lines().last().unwrap();
    assert!(last.starts_with("error: full.json: cannot be written: No space left on device"), "{full:?}");
    assert!(is_link(&path.join("out.json")) && is_link(&path.join("full.json")));
}
