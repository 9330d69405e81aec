//! Model folders that are cut, changed or made up: an error that names the file, never a panic.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::SystemTime;

use bptt::device::Device;
use bptt::error::{Error, Result};
use bptt::train::{CharModel, Model};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use tempfile::TempDir;

use super::harness::{bptt, command, folder, wait};

/// A folder with a tiny model in `model`.
fn tiny() -> TempDir {
    let folder = folder();
    bptt(folder.path(), "train hihello --steps 1 --out model").done();
    folder
}

fn load(folder: &TempDir) -> Result<CharModel> {
    Model::load_char(&folder.path().join("model"), &Device::cpu())
}

/// What `generate` says of the model.
#[track_caller]
fn refusal(folder: &TempDir) -> String {
    bptt(folder.path(), "generate model --length 1").failed(3).to_string()
}

#[test]
fn cut_at_every_length() {
    let folder = tiny();
    for name in ["config.json", "model.safetensors"] {
        let file = folder.path().join("model").join(name);
        let whole = fs::read(&file).unwrap();
        for length in 0..whole.len() {
            fs::write(&file, &whole[..length]).unwrap();
            match load(&folder) {
                Err(Error::Data { path, .. }) => assert_eq!(path, file, "{name} cut to {length} bytes"),
                other => panic!("{name} cut to {length} bytes: {other:?}"),
            }
        }
        assert!(refusal(&folder).contains(name));
        fs::remove_file(&file).unwrap();
        assert!(refusal(&folder).contains(&format!("{name}: no such file")));
        fs::write(&file, whole).unwrap();
    }
    load(&folder).unwrap();
}

#[test]
fn every_bit_flipped() {
    let folder = tiny();
    for name in ["config.json", "model.safetensors"] {
        let file = folder.path().join("model").join(name);
        let whole = fs::read(&file).unwrap();
        for bit in 0..8 * whole.len() {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, flipped).unwrap();
            // A flip may make another model that is right in itself; what it must not do is to panic.
            match load(&folder) {
                Ok(_) | Err(Error::Data { .. }) => {}
                Err(other) => panic!("bit {bit} of {name}: {other}"),
            }
        }
        fs::write(&file, whole).unwrap();
    }
}

#[test]
fn configurations() {
    let folder = tiny();
    let file = folder.path().join("model/config.json");
    let good = fs::read_to_string(&file).unwrap();
    for (from, to, says) in [
        ("\"format\": 1", "\"format\": 2", "format must be 1, got 2"),
        ("\"hidden\": 5", "\"hidden\": 0", "hidden must be from 1 to 65536, got 0"),
        ("\"hidden\": 5", "\"hidden\": 1000000000000000000", "hidden must be from 1 to 65536"),
        ("\"hidden\": 5", "\"hidden\": -5", "invalid value: integer `-5`"),
        ("\"hidden\": 5", "\"hidden\": 5.5", "invalid type: floating point `5.5`"),
        ("\"hidden\": 5", "\"hidden\": \"5\"", "invalid type: string \"5\""),
        ("\"hidden\": 5", "\"hidden\": null", "invalid type: null"),
        ("\"hidden\": 5", "\"hidden\": 6", "hidden must be the number of distinct characters, 5, got 6"),
        ("\"hidden\": 5", "\"hidden\": 5, \"hidden\": 5", "duplicate field `hidden`"),
        ("\"hidden\"", "\"width\"", "unknown field `width`"),
        ("\"hidden\": 5,", "", "missing field `hidden`"),
        ("\"layers\": 1", "\"layers\": 0", "layers must be from 1 to 1024, got 0"),
        ("\"layers\": 1", "\"layers\": 1000000000", "layers must be from 1 to 1024, got 1000000000"),
        ("\"layers\": 1", "\"layers\": 2", "the file has no tensor 'rnn.weight_ih_l1', 'rnn.weight_hh_l1'"),
        ("\"layers\": 1", "\"layers\": 1000", "and 3976 more; the model is that of config.json"),
        ("\"embedding\": null", "\"embedding\": 0", "embedding must be from 1 to 65536, got 0"),
        ("\"embedding\": null", "\"embedding\": 4", "the file has no tensor 'embedding.weight'"),
        ("\"linear\": false", "\"linear\": true", "the file has no tensor 'fc.weight', 'fc.bias'"),
        ("\"linear\": false", "\"linear\": 0", "invalid type: integer `0`, expected a boolean"),
        ("ehilo", "", "the vocabulary has no characters"),
        ("ehilo", "ehlio", "the vocabulary must be sorted and distinct, but 'i' comes after 'l'"),
        ("ehilo", "ehill", "the vocabulary must be sorted and distinct, but 'l' comes after 'l'"),
        ("ehilo", "\u{FC}", "must be the number of distinct characters, 1, got 5"),
        ("\"tanh\"", "\"sigmoid\"", "unknown variant `sigmoid`, expected `tanh` or `relu`"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from} is no part of config.json");
        fs::write(&file, bad).unwrap();
        let sentence = refusal(&folder);
        assert!(sentence.contains(says), "{from} as {to}: {sentence}");
    }
    for bad in [&b""[..], b"null", b"[]", b"{}", b"{\"format\": 1", b"\xFF", &b"[".repeat(100_000)] {
        fs::write(&file, bad).unwrap();
        assert!(refusal(&folder).contains("config.json: is no configuration of a model"));
    }
}

/// Names, shapes and values.
type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;
type Change<'a> = dyn Fn(&mut Tensors) + 'a;

fn tensors(file: &Path) -> Tensors {
    let bytes = fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let values =
        |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    tensors.into_iter().map(|(name, view)| (name, view.shape().to_vec(), values(view.data()))).collect()
}

fn write(file: &Path, dtype: Dtype, tensors: &[(String, Vec<usize>, Vec<u8>)]) {
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    fs::write(file, serialize(views, None).unwrap()).unwrap();
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn weights() {
    let folder = tiny();
    let file = folder.path().join("model/model.safetensors");
    let good = tensors(&file);
    let name = "rnn.weight_hh_l0";
    let at = good.iter().position(|(found, ..)| found == name).unwrap();
    let cases: [(&Change, &str); 6] = [
        (&|t| t[at].2[7] = f32::NAN, "'rnn.weight_hh_l0' holds NaN at position 7"),
        (&|t| t[at].2[24] = f32::NEG_INFINITY, "'rnn.weight_hh_l0' holds -inf at position 24"),
        (
            &|t| t[at].1 = vec![25],
            "'rnn.weight_hh_l0' has shape [25], the model's is [5, 5]; the model is that of config.json",
        ),
        (
            &|t| t[at].0 = "rnn.weight".into(),
            "the model has no tensor \"rnn.weight\"; the file has no tensor 'rnn.weight_hh_l0'",
        ),
        (&|t| t.push(("more".into(), vec![0], vec![])), "the model has no tensor \"more\""),
        (&|t| drop(t.remove(at)), "the file has no tensor 'rnn.weight_hh_l0'"),
    ];
    for (change, says) in cases {
        let mut tensors = good.clone();
        change(&mut tensors);
        let bytes: Vec<_> =
            tensors.into_iter().map(|(name, shape, x)| (name, shape, f32_bytes(&x))).collect();
        write(&file, Dtype::F32, &bytes);
        let sentence = refusal(&folder);
        assert!(sentence.contains(says), "{sentence}");
    }
    let converted = |dtype, bytes: &dyn Fn(f32) -> Vec<u8>| {
        let tensors = good.iter().map(|(name, shape, x)| {
            (name.clone(), shape.clone(), x.iter().flat_map(|x| bytes(*x)).collect())
        });
        write(&file, dtype, &tensors.collect::<Vec<_>>());
    };
    converted(Dtype::I32, &|x| (x as i32).to_le_bytes().to_vec());
    assert!(refusal(&folder).contains("is I32; F32, F64, F16 and BF16 can be read"));
    converted(Dtype::BF16, &|x| x.to_le_bytes()[2..].to_vec());
    load(&folder).unwrap();
    for bad in [vec![0; 1000], vec![0xFF; 1000], b"{}".repeat(500)] {
        fs::write(&file, bad).unwrap();
        assert!(refusal(&folder).contains("model.safetensors: is no whole safetensors file"));
    }
    // Sparse: takes no space. Of a terabyte no more is read than the header says.
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    assert!(refusal(&folder).contains("is no whole safetensors file: its header: EOF"));
    let header =
        r#"{"rnn.weight_hh_l0":{"dtype":"F32","shape":[274877906941],"data_offsets":[0,1099511627764]}}"#;
    fs::write(&file, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
    let length = 8 + header.len() as u64 + 1_099_511_627_764;
    fs::File::options().write(true).open(&file).unwrap().set_len(length).unwrap();
    assert!(refusal(&folder).contains("'rnn.weight_hh_l0' has shape [274877906941], the model's is [5, 5]"));
}

#[test]
fn weights_that_overflow() {
    let folder = folder();
    bptt(folder.path(), "train hihello --linear --steps 1 --out model").done();
    let file = folder.path().join("model/model.safetensors");
    let tensors: Vec<_> = tensors(&file)
        .into_iter()
        .map(|(name, shape, x)| (name, shape, f32_bytes(&vec![3e38; x.len()])))
        .collect();
    write(&file, Dtype::F32, &tensors);
    assert_eq!(bptt(folder.path(), "generate model").failed(1), "the model's output is not finite");
}

#[test]
fn force_replaces_a_model_whole() {
    let folder = tiny();
    let path = folder.path().join("model");
    let read = || ["config.json", "model.safetensors"].map(|name| fs::read(path.join(name)).unwrap());
    let old = read();
    // Nothing of the old model is touched by a training that fails.
    let failed = bptt(folder.path(), "train text --lr 2e38 --out model --force");
    assert_eq!((failed.code, read() == old), (Some(1), true), "{failed:?}");
    bptt(folder.path(), "train text --steps 1 --hidden 8 --out model --force").done();
    assert_eq!(load(&folder).unwrap().config.hidden, 8);
    let checkpoints: Vec<_> = fs::read_dir(path.join("checkpoints")).unwrap().collect();
    assert_eq!(checkpoints.len(), 1, "a checkpoint of the old run was left: {checkpoints:?}");
}

#[test]
fn runs_are_numbered_and_the_newest_is_generated_from() {
    let folder = folder();
    for number in 1..=3 {
        let out = bptt(folder.path(), "train hihello --steps 1").done();
        assert!(out.contains(&format!("the model is in runs/hihello-{number}\n")), "{out}");
    }
    // A folder that holds no model is passed over, as is an older one.
    fs::create_dir(folder.path().join("runs/zzz")).unwrap();
    let weights =
        fs::File::options().write(true).open(folder.path().join("runs/hihello-2/model.safetensors")).unwrap();
    weights.set_modified(SystemTime::now() + std::time::Duration::from_secs(60)).unwrap();
    let events = bptt(folder.path(), "generate --length 1 --json").events();
    assert_eq!(events[0]["model"], "runs/hihello-2");
}

/// Also where runs that fail remove the folders that they have made.
#[test]
fn runs_that_begin_together_get_folders_of_their_own() {
    let folder = folder();
    let start = |i: usize| {
        let args = ["train hihello --steps 1", "train text --lr 2e38"][i % 2];
        let mut command = command(folder.path(), args.split(' '));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut runs: Vec<_> = (0..16).map(start).collect();
    let codes: Vec<_> = runs.iter_mut().map(wait).collect();
    assert_eq!(codes, [Some(0), Some(1)].repeat(8));
    assert_eq!(fs::read_dir(folder.path().join("runs")).unwrap().count(), 8);
}
