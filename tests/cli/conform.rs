//! `bptt conform`: verdicts, exit codes, results as files.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

use super::harness::{bptt, folder};

/// A folder with `cases/<name>`: the first cases of the repository.
fn some(count: usize) -> (TempDir, Vec<String>) {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cases");
    let mut names: Vec<_> =
        fs::read_dir(&all).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names.truncate(count);
    let folder = folder();
    for name in &names {
        let case = folder.path().join("cases").join(name);
        fs::create_dir_all(&case).unwrap();
        for file in ["case.json", "tensors.safetensors"] {
            fs::copy(all.join(name).join(file), case.join(file)).unwrap();
        }
    }
    (folder, names)
}

#[test]
fn cases_that_agree() {
    let (folder, names) = some(3);
    let out = bptt(folder.path(), "conform cases").done();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines.len() > 9, "{out}");
    for (line, name) in lines.iter().zip(&names) {
        assert!(line.starts_with(&format!("{name}  pass  ")) && line.ends_with(" of its limit"), "{line}");
    }
    // The largest share of each kind of result, and whose it is.
    let rows: Vec<Vec<&str>> = lines[5..].iter().map(|line| line.split_whitespace().collect()).collect();
    for kind in ["output", "h_n", "loss", "grad", "param"] {
        let row = rows.iter().find(|row| row[0] == kind).unwrap_or_else(|| panic!("no {kind}: {out}"));
        assert!(row[1].parse::<f64>().unwrap() <= 1.0 && names.iter().any(|name| name == row[2]), "{row:?}");
    }
    assert_eq!(lines[lines.len() - 1], "3 passed, 0 failed");

    let run = bptt(folder.path(), "conform cases --json --out results/new");
    assert_eq!(run.code, Some(0), "{run:?}");
    let events = run.events();
    for (event, name) in events.iter().zip(&names) {
        let keys: Vec<_> = event.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["event", "name", "passed", "worst", "share", "reason"]);
        assert_eq!((&event["event"], &event["name"]), (&Value::from("case"), &Value::from(name.as_str())));
        assert_eq!((&event["passed"], &event["reason"]), (&Value::from(true), &Value::Null));
        assert!(event["worst"].is_string() && event["share"].as_f64().unwrap() <= 1.0, "{event}");
    }
    let done = &events[3];
    assert_eq!((&done["event"], &done["passed"], &done["failed"]), (&"done".into(), &3.into(), &0.into()));
    assert!(done["worst"]["grad"].as_f64().unwrap() <= 1.0, "{done}");
    assert_eq!(events.len(), 4);

    // In half precision the errors are larger by far, and within the limits of it.
    for precision in ["f16", "bf16"] {
        let half = bptt(folder.path(), &format!("conform cases --json --precision {precision}")).events();
        let error = |run: &[Value]| run[0]["share"].as_f64().unwrap();
        assert!(half[0]["passed"] == true && error(&half) > 5.0 * error(&events), "{half:?}");
    }

    // Each result has the shape of what was expected.
    for name in &names {
        let expected = fs::read(folder.path().join("cases").join(name).join("tensors.safetensors")).unwrap();
        let expected = SafeTensors::deserialize(&expected).unwrap();
        let got = fs::read(folder.path().join(format!("results/new/{name}.safetensors"))).unwrap();
        let got = SafeTensors::deserialize(&got).unwrap();
        let keys: Vec<_> = expected.names().into_iter().filter(|key| key.starts_with("expect.")).collect();
        assert_eq!(keys.len(), got.names().len());
        for key in keys {
            assert_eq!(got.tensor(key).unwrap().shape(), expected.tensor(key).unwrap().shape(), "{key}");
        }
    }
}

#[test]
fn cases_that_cannot_be_run_fail_beside_others() {
    let (folder, names) = some(2);
    let case = folder.path().join("cases").join(&names[0]);
    let [json, tensors] = ["case.json", "tensors.safetensors"].map(|name| case.join(name));
    let (good, whole) = (fs::read_to_string(&json).unwrap(), fs::read(&tensors).unwrap());
    let fails = |says: &str| {
        let plain = bptt(folder.path(), "conform cases");
        assert_eq!((plain.code, plain.err.as_str()), (Some(1), ""), "{plain:?}");
        let line = plain.out.lines().next().unwrap();
        assert!(line.starts_with(&format!("{}  FAIL  ", names[0])) && line.contains(says), "{line}: {says}");
        assert!(plain.out.ends_with("1 passed, 1 failed\n"), "{plain:?}");
        let events = bptt(folder.path(), "conform cases --json").events();
        assert!(events[0]["reason"].as_str().unwrap().contains(says), "{events:?}");
        assert_eq!(events[0]["passed"], false);
    };
    let described: Value = serde_json::from_str(&good).unwrap();
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 14] = [
        (|case| case["more"] = 1.into(), "unknown field `more`"),
        (|case| case["model"][1]["dropout"] = 0.5.into(), "unknown field `dropout`"),
        (|case| case["model"][0]["type"] = "mystery".into(), "unknown variant `mystery`"),
        (|case| case["optimizer"]["type"] = "mystery".into(), "unknown variant `mystery`"),
        (|case| case["optimizer"]["maximize"] = true.into(), "unknown field `maximize`"),
        (|case| case["loss"] = serde_json::json!({"type": "mse", "beta": 1}), "unknown field `beta`"),
        (|case| case["name"] = "../other".into(), "the case is named \"../other\", its folder is not"),
        (|case| case["batch"] = 0.into(), "batch must be from 1 to"),
        (|case| case["batch"] = 19.into(), "19"),
        (
            |case| case["lengths"] = serde_json::json!([1, 2, 3, 4, 5, 6, 7]),
            "lengths must be one for each of",
        ),
        (|case| case["clip_grad_norm"] = (-1).into(), "max_norm must be above 0, got -1"),
        (|case| case["optimizer"]["lr"] = (-1).into(), "lr must be at least 0, got -1"),
        (
            |case| {
                let last = case["model"].as_array().unwrap().len() - 1;
                case["model"][last] = serde_json::json!({"type": "last", "step": 2});
            },
            "unknown field `step`",
        ),
        (|case| case["model"] = serde_json::json!([]), "a model has one recurrent layer, got 0"),
    ];
    for (change, says) in changes {
        let mut changed = described.clone();
        change(&mut changed);
        fs::write(&json, changed.to_string()).unwrap();
        fails(says);
    }
    fs::write(&json, "{").unwrap();
    fails("case.json: describes no case: EOF");
    fs::remove_file(&json).unwrap();
    fails("case.json: no such file");
    fs::write(&json, good).unwrap();

    for length in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&tensors, &whole[..length]).unwrap();
        fails("tensors.safetensors: is no whole safetensors file");
    }
    fs::remove_file(&tensors).unwrap();
    fails("tensors.safetensors: no such file");
}

#[test]
fn folders_that_hold_no_cases() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("empty/nothing")).unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    for (name, says) in [
        ("missing", "missing: no such folder"),
        ("empty", "empty: holds no cases: none of the folders in it has a case.json"),
        ("file", "file: is no folder"),
    ] {
        let sentence = bptt(folder.path(), &format!("conform {name}")).failed(3).to_string();
        assert_eq!(sentence, says);
    }
    assert!(bptt(folder.path(), "conform").failed(2).contains("<CASES>"));
    assert!(bptt(folder.path(), "conform empty --precision f8").failed(2).contains("invalid value 'f8'"));
    assert!(bptt(folder.path(), "conform empty --device nonsense").failed(3).contains("holds no cases"));
    let (cases, _) = some(1);
    fs::write(cases.path().join("taken"), "").unwrap();
    assert!(bptt(cases.path(), "conform cases --out taken/results").failed(3).contains("cannot be made"));
    assert!(bptt(cases.path(), "conform cases --device nonsense").failed(2).contains("no device 'nonsense'"));
}
