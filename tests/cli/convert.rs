//! `bptt convert`: what it writes, what other commands do with that, and what it refuses.

use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::json;
use tempfile::TempDir;

use super::files::files;
use super::harness::{bptt, folder, listing};

/// A folder with a run of text in `model`.
fn trained() -> TempDir {
    let folder = folder();
    bptt(folder.path(), "train text --steps 20 --hidden 8 --out model").done();
    folder
}

fn types(file: &Path) -> Vec<(String, Dtype)> {
    let bytes = fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    tensors.into_iter().map(|(name, view)| (name, view.dtype())).collect()
}

#[test]
fn a_run_in_half_the_bytes() {
    let folder = trained();
    let path = folder.path();
    let before = files(&path.join("model"));
    let eval = |model: &str| {
        fs::write(path.join("text.txt"), bptt::data::text::LONGSEQ).unwrap();
        bptt(path, &format!("eval {model} --file text.txt --json")).events()[0]["loss"].as_f64().unwrap()
    };
    let exact = eval("model");
    // Of a loss of a few nats: rounding moves each logit by about its share, and the loss by no more than the largest.
    for (to, dtype, error, near) in
        [("f16", Dtype::F16, 2f64.powi(-11), 0.01), ("bf16", Dtype::BF16, 2f64.powi(-8), 0.08)]
    {
        let out = bptt(path, &format!("convert model --to {to}")).done();
        assert!(out.contains(&format!(" values in {to}: ")), "{out}");
        assert!(out.ends_with(&format!("the result is in model-{to}\n")), "{out}");
        let converted = files(&path.join(format!("model-{to}")));
        assert_eq!(converted.keys().collect::<Vec<_>>(), ["config.json", "model.safetensors"]);
        assert_eq!(converted["config.json"], before["config.json"]);
        let size = converted["model.safetensors"].len() as f64 / before["model.safetensors"].len() as f64;
        assert!((0.5..0.65).contains(&size), "{size}");
        let file = path.join(format!("model-{to}/model.safetensors"));
        assert!(types(&file).iter().all(|(_, of)| *of == dtype));
        let text = bptt(path, &format!("generate model-{to} --length 20 --prompt sea")).done();
        assert!(text.starts_with("sea") && text.chars().count() == 24, "{text:?}");
        let loss = eval(&format!("model-{to}"));
        assert!((loss - exact).abs() < near && loss != exact, "{to}: {loss}, {exact}");

        let event =
            bptt(path, &format!("convert model --to {to} --out other --force --json")).events().remove(0);
        let count = before["model.safetensors"].len() as u64;
        assert_eq!(
            (
                &event["event"],
                &event["from"],
                &event["to"],
                &event["out"],
                &event["kept"],
                &event["bytes_before"]
            ),
            (&json!("done"), &json!("model"), &json!(to), &json!("other"), &json!(0), &json!(count))
        );
        assert_eq!(event["bytes_after"], converted["model.safetensors"].len());
        let found = event["relative_error"].as_f64().unwrap();
        assert!(found > 0.9 * error && found <= error, "{found} beside {error}");
        assert_eq!(files(&path.join("other")), converted);
        // Back again it has the same values, in the old type.
        bptt(path, &format!("convert other --to f32 --out wide-{to}")).done();
        assert_eq!(eval(&format!("wide-{to}")), loss);
    }
    assert_eq!(files(&path.join("model")), before);
}

#[test]
fn a_series_in_half_the_bytes() {
    let folder = folder();
    let path = folder.path();
    bptt(path, "train timeseries --steps 5 --out series").done();
    bptt(path, "convert series --to bf16").done();
    let rows: String = (1..30).map(|k| format!("{k},{},{k},{},{}\n", k + 1, 1000 * k, k + 2)).collect();
    fs::write(path.join("table.csv"), format!("Open,High,Low,Volume,Close\n{rows}")).unwrap();
    let [exact, rounded] = ["series", "series-bf16"]
        .map(|run| bptt(path, &format!("predict {run} --csv table.csv --json")).events());
    assert_eq!(exact.len(), rounded.len());
    assert_ne!(exact, rounded);
    bptt(path, "eval series-bf16 --csv table.csv").done();
}

#[test]
fn a_file_with_more_in_it() {
    let folder = folder();
    let path = folder.path();
    let (floats, steps) = ([1f32, 1.0 / 3.0, 1e-9].map(f32::to_le_bytes).concat(), 7i64.to_le_bytes());
    let write = |name: &str, floats: &[u8]| {
        let views = [
            ("fc.weight", TensorView::new(Dtype::F32, vec![3], floats).unwrap()),
            ("steps", TensorView::new(Dtype::I64, vec![], &steps).unwrap()),
        ];
        let texts = [("format".to_string(), "pt".to_string())].into();
        fs::write(path.join(name), serialize(views, Some(texts)).unwrap()).unwrap();
    };
    write("net.safetensors", &floats);
    let said = bptt(path, "convert net.safetensors --to f16").done();
    let sizes =
        ["net.safetensors", "net-f16.safetensors"].map(|name| fs::read(path.join(name)).unwrap().len());
    assert_eq!(
        said,
        format!(
            "1 tensors, 3 values in f16: {} B, before {} B\n1 tensors of other types are as they were\n\
             rounding changed no value by more than 2.44e-4 of it\n1 values are too small for f16 and became 0\n\
             the result is in net-f16.safetensors\n",
            sizes[1], sizes[0]
        )
    );
    let found = types(&path.join("net-f16.safetensors"));
    assert!(
        found.contains(&("steps".into(), Dtype::I64)) && found.contains(&("fc.weight".into(), Dtype::F16))
    );
    let said = bptt(path, "convert net-f16.safetensors --to f32 --out wide").done();
    assert!(said.contains("\nrounding changed no value\nthe result is in wide\n"), "{said}");

    for (bad, says) in [
        (
            65_520.0,
            "net.safetensors: 'fc.weight' holds 6.552e4 at position 1, beyond 65504, the largest number of f16: take bf16",
        ),
        (f32::NAN, "net.safetensors: 'fc.weight' holds NaN at position 1"),
        (f32::NEG_INFINITY, "net.safetensors: 'fc.weight' holds -inf at position 1"),
    ] {
        write("net.safetensors", &[0.0, bad, 0.0].map(f32::to_le_bytes).concat());
        let before = (files(path), listing(path));
        assert_eq!(bptt(path, "convert net.safetensors --to f16 --out new").failed(3), says);
        assert_eq!(bptt(path, "convert net.safetensors --to f16 --force").failed(3), says);
        assert_eq!((files(path), listing(path)), before);
    }
}

#[test]
fn what_is_refused() {
    let folder = trained();
    let path = folder.path();
    bptt(path, "convert model --to f16 --out half").done();
    fs::create_dir(path.join("empty")).unwrap();
    fs::create_dir(path.join("mixed")).unwrap();
    fs::write(path.join("mixed/config.json"), "{}").unwrap();
    fs::write(path.join("mixed/notes"), "mine").unwrap();
    fs::write(path.join("note"), "no tensors").unwrap();
    fs::create_dir(path.join("broken")).unwrap();
    fs::write(path.join("broken/config.json"), "{}").unwrap();
    fs::write(path.join("broken/model.safetensors"), [0; 9]).unwrap();
    fs::create_dir(path.join("cut")).unwrap();
    fs::copy(path.join("model/config.json"), path.join("cut/config.json")).unwrap();
    let whole = fs::read(path.join("model/model.safetensors")).unwrap();
    fs::write(path.join("cut/model.safetensors"), &whole[..whole.len() - 1]).unwrap();
    fs::write(path.join("void"), "").unwrap();
    fs::write(path.join("prose"), "a book with many words").unwrap();
    let (before, there) = (files(path), listing(path));
    let exists = "exists already; name another --out, or overwrite it with --force";
    for (args, code, says) in [
        ("model", 2, "--to <TYPE>"),
        ("model --to f8", 2, "invalid value 'f8' for '--to <TYPE>' [possible values: f32, f16, bf16]"),
        ("nothing --to f16", 3, "nothing: no such file or folder"),
        ("empty --to f16", 3, "empty/config.json: no such file; a model's folder holds config.json and"),
        (
            "broken --to f16",
            3,
            "broken/config.json: is no configuration of a model: missing field `experiment`",
        ),
        ("cut --to f16", 3, "cut/model.safetensors: is no whole safetensors file: its tensors take"),
        ("cut --to f16 --out a/b/c", 3, "cut/model.safetensors: is no whole safetensors file"),
        ("note --to f16", 3, "note: is no whole safetensors file"),
        ("void --to f16", 3, "void: is no whole safetensors file: it is empty"),
        (
            "prose --to f16",
            3,
            "prose: is no whole safetensors file: it does not begin with the length of a header",
        ),
        (
            "model/checkpoints/step-20.safetensors --to f16 --out new",
            3,
            "is a checkpoint, whose bits training needs",
        ),
        ("model --to bf16 --out half", 2, exists),
        ("model --to bf16 --out note", 2, exists),
        ("model --to bf16 --out note --force", 3, "note: is not a folder"),
        ("model --to bf16 --out model --force", 2, "model is what is to be converted: name another --out"),
        ("half --to bf16 --out ./half --force", 2, "half is what is to be converted: name another --out"),
        (
            "half --to bf16 --out model --force",
            3,
            "beside config.json and model.safetensors, which --force does not",
        ),
        ("half --to bf16 --out mixed --force", 3, "holds \"notes\" beside config.json and model.safetensors"),
        ("half --to bf16 --out note/x", 3, "note/x: cannot be made"),
        ("half/model.safetensors --to bf16 --out note", 2, exists),
        ("half/model.safetensors --to bf16 --out empty --force", 3, "empty: is a folder; name a file"),
        ("half/model.safetensors --to bf16 --out none/x", 3, "none/x: cannot be written"),
        (
            "half/model.safetensors --to bf16 --out half/model.safetensors --force",
            2,
            "is what is to be converted",
        ),
        ("/ --to f16", 2, "/ has no name: name --out"),
    ] {
        let sentence = bptt(path, &format!("convert {args}")).failed(code).to_string();
        assert!(sentence.contains(says), "convert {args}: {sentence}");
        let json = bptt(path, &format!("convert {args} --json"));
        assert_eq!(json.events(), [json!({"event": "error", "message": json.failed(code)})]);
    }
    assert_eq!((files(path), listing(path)), (before, there));
    // What a killed conversion leaves is in nobody's way.
    fs::write(path.join("empty/.bptt-abc"), "half of it").unwrap();
    bptt(path, "convert model --to f16 --out empty").done();
    bptt(path, "convert half --to bf16 --out empty --force").done();
    assert!(types(&path.join("empty/model.safetensors")).iter().all(|(_, of)| *of == Dtype::BF16));
    bptt(path, "convert half --to bf16 --out deep/er/new").done();
    bptt(path, "generate deep/er/new --length 1").done();
}
