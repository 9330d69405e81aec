//! `bptt plot` and `bptt report`: files of every experiment, and what they say when something is missing.

use std::fs;
use std::path::Path;

use roxmltree::{Document, ParsingOptions};

use super::harness::{bptt, folder};

/// A page's headings of the second order; the page is sound.
#[track_caller]
fn headings(page: &str) -> Vec<String> {
    let options = ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = Document::parse_with_options(page, options).unwrap();
    assert!(!document.descendants().any(|node| node.has_tag_name("script")));
    let headings = document.descendants().filter(|node| node.has_tag_name("h2"));
    headings.map(|node| node.text().unwrap_or_default().to_owned()).collect()
}

#[track_caller]
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn check_pictures(plots: &Path, names: &[&str]) {
    let mut found: Vec<_> = fs::read_dir(plots).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    let mut expected: Vec<std::ffi::OsString> =
        names.iter().flat_map(|name| ["png", "svg"].map(|kind| format!("{name}.{kind}").into())).collect();
    expected.sort();
    assert_eq!(found, expected);
    for name in names {
        let mut png = png::Decoder::new(
            fs::File::open(plots.join(format!("{name}.png"))).map(std::io::BufReader::new).unwrap(),
        )
        .read_info()
        .unwrap();
        let mut pixels = vec![0; png.output_buffer_size().unwrap()];
        assert_eq!(png.next_frame(&mut pixels).unwrap().width, 1600);
        assert!(pixels.iter().any(|byte| *byte < 255), "{name} is white");
        Document::parse(&read(&plots.join(format!("{name}.svg")))).unwrap();
    }
}

const INSIDE: [&str; 5] =
    ["Hidden states", "Gradients through time", "Gate saturation", "Parameters", "Settings"];

#[test]
fn every_experiment_has_its_pictures_and_its_page() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("table.csv"), (0..60).map(|i| format!("{i},{}\n", i * i)).collect::<String>())
        .unwrap();
    fs::write(folder.join("text.txt"), "ab <b>\u{1F600}</b>&amp;\n".repeat(30)).unwrap();
    for (options, pictures, sections) in [
        ("hihello --cell lstm", &["loss", "lr", "grad_norm"][..], &["Learning", "Predictions"][..]),
        ("charseq --clip 1", &["loss", "lr", "grad_norm"], &["Learning", "Predictions"]),
        ("longseq --cell gru", &["loss", "lr", "grad_norm"], &["Learning", "Predictions"]),
        (
            "text --hidden 6 --layers 2 --schedule cosine --file text.txt",
            &["loss", "lr", "grad_norm"],
            &["Learning", "Samples"],
        ),
        ("text --hidden 6 --cell gru --tokens bytes", &["loss", "lr", "grad_norm"], &["Learning", "Samples"]),
        ("timeseries --cell rnn", &["loss", "lr", "grad_norm", "forecast"], &["Learning", "Forecast"]),
        (
            "timeseries --csv table.csv --layers 2",
            &["loss", "lr", "grad_norm", "forecast"],
            &["Learning", "Forecast"],
        ),
    ] {
        let run = folder.join("run");
        let trained = bptt(folder, &format!("train {options} --steps 3 --out run --force"));
        assert!(!trained.err.contains("drawn"), "{trained:?}");
        check_pictures(&run.join("plots"), pictures);
        assert_eq!(bptt(folder, "report run").done(), "the page is in run/report.html\n", "{options}");
        let page = read(&run.join("report.html"));
        assert_eq!(headings(&page), [sections, &INSIDE].concat(), "{options}");
        let synthetic = options.starts_with("timeseries") && !options.contains("csv");
        assert_eq!(page.contains("The data are synthetic"), synthetic, "{options}");
        assert!(!page.contains("left out") && !page.contains("has not ended"), "{options}");
        assert!(page.contains("rnn.weight_hh_l0") && !page.contains("NaN"), "{options}");
        fs::remove_dir_all(&run).unwrap();
    }
}

#[test]
fn a_train_that_must_be_silent_is() {
    let folder = folder();
    for options in ["--quiet", "--json"] {
        // Where the folder of the pictures should be lies a file.
        bptt(folder.path(), "train hihello --steps 1 --out run --force").done();
        fs::remove_dir_all(folder.path().join("run/plots")).unwrap();
        fs::write(folder.path().join("run/plots"), "").unwrap();
        let silent = bptt(folder.path(), &format!("train hihello --steps 1 --out run --force {options}"));
        assert_eq!((silent.code, silent.err.as_str()), (Some(0), ""), "{options}");
        let told = bptt(folder.path(), "train hihello --steps 1 --out run --force");
        assert!(
            told.code == Some(0) && told.err.starts_with("the curves were not drawn: run/plots"),
            "{told:?}"
        );
        fs::remove_dir_all(folder.path().join("run")).unwrap();
    }
}

#[test]
fn a_run_that_is_trained_or_was_interrupted() {
    let folder = folder();
    let run = folder.path().join("run");
    bptt(folder.path(), "train timeseries --steps 3 --out run").done();
    fs::remove_file(run.join("result.json")).unwrap();
    fs::remove_file(run.join("forecasts.csv")).unwrap();
    let rows = read(&run.join("metrics.jsonl"));
    fs::write(run.join("metrics.jsonl"), &rows[..rows.len() - 7]).unwrap();
    bptt(folder.path(), "plot run").done();
    check_pictures(&run.join("plots"), &["loss", "lr", "grad_norm"]);
    bptt(folder.path(), "report run").done();
    let page = read(&run.join("report.html"));
    assert!(page.contains("The training has not ended: 2 of 3 steps are known"));
    // The forecasts are made anew.
    assert!(headings(&page).contains(&"Forecast".to_string()));

    fs::remove_file(run.join("model.safetensors")).unwrap();
    bptt(folder.path(), "report run").done();
    let page = read(&run.join("report.html"));
    assert_eq!(headings(&page), ["Learning", "Settings"]);
    assert!(page.contains("There is no model yet"));
    let failed = bptt(folder.path(), "report run --csv table.csv");
    assert!(failed.failed(2).contains("there is no model yet"));
}

#[test]
fn a_run_whose_data_are_gone() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("table.csv"), (0..60).map(|i| format!("{i},{}\n", i * i)).collect::<String>())
        .unwrap();
    fs::write(folder.join("text.txt"), "abc ".repeat(30)).unwrap();
    bptt(folder, "train text --steps 1 --hidden 4 --file text.txt --out text").done();
    bptt(folder, "train timeseries --steps 1 --csv table.csv --out series").done();
    for (data, run, named) in
        [("text.txt", "text", "--file new.txt"), ("table.csv", "series", "--csv new.csv")]
    {
        let new = folder.join(named.split(' ').nth(1).unwrap());
        fs::rename(folder.join(data), new).unwrap();
        bptt(folder, &format!("report {run}")).done();
        let page = read(&folder.join(run).join("report.html"));
        let left_out = format!(
            "The look inside the model is left out, because the data cannot be read: {}",
            folder.join(data).display()
        );
        assert!(page.contains(&left_out), "{page}");
        let shown = headings(&page);
        assert!(
            shown.contains(&"Parameters".into()) && !shown.contains(&"Hidden states".into()),
            "{shown:?}"
        );
        bptt(folder, &format!("report {run} {named} --out page.html")).done();
        let page = read(&folder.join("page.html"));
        assert!(!page.contains("left out") && headings(&page).contains(&"Hidden states".into()), "{named}");
    }
}

/// Settings that somebody else made may name any file; a page is made to be passed on.
#[test]
fn a_run_that_names_a_file_of_the_readers() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("text.txt"), "abcs ".repeat(30)).unwrap();
    fs::write(folder.join("table.csv"), (0..60).map(|i| format!("{i},{}\n", i * i)).collect::<String>())
        .unwrap();
    bptt(folder, "train text --steps 1 --hidden 4 --file text.txt --out text").done();
    bptt(folder, "train timeseries --steps 1 --csv table.csv --out series").done();
    let secrets = [("abcs".repeat(50), "text", "text.txt"), ("bcas;x\n".repeat(50), "series", "table.csv")];
    for (secret, run, data) in secrets {
        fs::write(folder.join("secret"), secret).unwrap();
        let settings = folder.join(run).join("config.toml");
        let changed = fs::read_to_string(&settings).unwrap().replacen(data, "secret", 1);
        fs::write(settings, changed).unwrap();
        fs::remove_file(folder.join(run).join("forecasts.csv")).ok();
        bptt(folder, &format!("report {run}")).done();
        let page = read(&folder.join(run).join("report.html"));
        assert!(page.contains("The look inside the model is left out"), "{page}");
        // A model of text writes samples of its own.
        assert!(
            (run == "text" || !page.contains("bcas")) && !headings(&page).contains(&"Hidden states".into()),
            "{page}"
        );
    }
}

#[test]
fn hostile_text_stays_text() {
    let folder = folder();
    let hostile = "</pre><script>alert(1)</script>";
    let rows: String = (0..40).map(|i| format!("{i},{}\n", i % 7)).collect();
    fs::write(
        folder.path().join("table.csv"),
        format!("a,\"{hostile}\npart,row,actual,predicted,naive\nx: y\"\n{rows}"),
    )
    .unwrap();
    fs::write(folder.path().join("text.txt"), format!("{hostile}\u{202E}\u{1B}[31m").repeat(20)).unwrap();
    bptt(folder.path(), "train timeseries --csv table.csv --steps 2 --out series").done();
    bptt(folder.path(), "train text --file text.txt --steps 2 --hidden 4 --out text").done();
    for run in ["series", "text"] {
        bptt(folder.path(), &format!("report {run}")).done();
        let page = read(&folder.path().join(run).join("report.html"));
        headings(&page);
        assert!(!page.contains('\u{202E}') && !page.contains('\x1B'), "{run}");
    }
}

#[test]
fn notes_of_a_series_are_prominent() {
    let folder = folder();
    bptt(folder.path(), "train timeseries --steps 2 --scaler original --out run").done();
    bptt(folder.path(), "report run --json").done();
    let page = read(&folder.path().join("run/report.html"));
    let (_, notes) = page.split_once("class=\"notes\"").unwrap();
    let (notes, _) = notes.split_once("</ul>").unwrap();
    for says in ["synthetic", "leaks", "does not beat the naive forecast"] {
        assert!(notes.contains(says), "{notes}");
    }
}

#[test]
fn bad_input() {
    let folder = folder();
    let path = folder.path();
    bptt(path, "train hihello --steps 2 --out run").done();
    bptt(path, "train timeseries --steps 2 --out series").done();
    fs::create_dir(path.join("foreign")).unwrap();
    fs::write(path.join("one.txt"), "h").unwrap();
    fs::write(path.join("other.txt"), "hello x").unwrap();
    fs::write(path.join("file"), "").unwrap();
    for (args, code, says) in [
        ("plot", 2, "required arguments were not provided"),
        ("plot missing", 3, "missing: no such folder; name the folder of a run"),
        ("report missing", 3, "missing: no such folder; name the folder of a run"),
        ("plot file", 3, "file: is no folder"),
        ("plot foreign", 3, "foreign: holds no config.toml: it is no run, or one that ended before it began"),
        ("report foreign", 3, "foreign: holds no config.toml: it is no run"),
        ("plot run --out missing/plots", 3, "missing/plots: cannot be made: "),
        ("plot run --out file", 3, "file/loss.png: cannot be written: "),
        (
            "report run --out missing/page.html",
            3,
            "missing/page.html: cannot be written: there is no folder missing",
        ),
        ("report run --file one.txt", 3, "one.txt: has one token"),
        (
            "report run --file other.txt",
            3,
            "other.txt: line 1, column 6: the character ' ' is not in the model's vocabulary: leave it out, or train a model on a \
             text that has it",
        ),
        ("report run --file missing.txt", 3, "missing.txt: no such file"),
        ("report run --csv table.csv", 2, "the model is of text: name one with --file FILE"),
        ("report series --file one.txt", 2, "the model is of a time series: name a table with --csv FILE"),
        ("report series --csv missing.csv", 3, "missing.csv: no such file"),
        ("report run --columns a", 2, "say how a table is read: name it with --csv FILE"),
        ("report run --file one.txt --header", 2, "say how a table is read: name it with --csv FILE"),
        ("eval run --file one.txt --newest-first", 2, "say how a table is read: name it with --csv FILE"),
        ("report run --file a --csv b", 2, "cannot be used with"),
    ] {
        let failed = bptt(path, args);
        assert!(failed.failed(code).contains(says), "{args}: {failed:?}");
    }
    for (run, file, line, says) in [
        (
            "run",
            "metrics.jsonl",
            "{\"step\":1,\"loss\":\"x\",\"lr\":1}",
            "run/metrics.jsonl: line 3: is no row of metrics",
        ),
        ("series", "forecasts.csv", "test,0,1,2,3", "series/forecasts.csv: line 728: is no forecast"),
    ] {
        let file = path.join(run).join(file);
        fs::write(&file, read(&file) + line + "\n").unwrap();
        for command in ["plot", "report"] {
            let failed = bptt(path, &format!("{command} {run}"));
            assert!(failed.failed(3).contains(says), "{failed:?}");
        }
    }
}
