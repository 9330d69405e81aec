//! Files that are cut, changed and made up, by the thousand: every reader of the library takes or refuses them, without a
//! panic, within a second, and in memory that the file's length bounds.
//!
//! By default there are a few hundred of each. HOSTILE_CASES sets another number: `HOSTILE_CASES=100000 cargo test --release --test
//! hostile`. HOSTILE_SEED sets the first; `HOSTILE_CASES=1 HOSTILE_SEED=<number>` runs one case alone.

mod mutate;
#[path = "../common/parsers.rs"]
mod parsers;

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use bptt::data::scale::{Scaler, ScalerKind};
use bptt::data::text::{LONGSEQ, Unit, Vocabulary};
use bptt::device::Device;
use bptt::nn::CellKind;
use bptt::prelude::*;
use bptt::train::{
    CharModel, CharModelConfig, Config, Experiment, ModelFiles, SeriesModel, SeriesModelConfig,
};
use mutate::{Random, bytes, json, safetensors};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a reader may take however short the file is: buffers, names, the library's own.
const CONSTANT: usize = 512 << 10;

/// Held by each test: what others do, a panic's backtrace say, takes memory too.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// What a reader did: bytes that it was given, whether they were taken, bytes that it may take for what it made of them.
struct Read {
    given: usize,
    taken: bool,
    made: usize,
}

/// Gives a reader so many cases, or more by the environment, and holds it to time and memory.
fn each(
    reader: &str,
    cases: u64,
    constant: usize,
    mut read: impl FnMut(&mut Random) -> Box<dyn FnOnce() -> Read>,
) {
    // What is made once is made by now.
    read(&mut Random(0))();
    let (cases, seed) = (variable("HOSTILE_CASES", cases), variable("HOSTILE_SEED", 1));
    let (mut taken, mut longest, mut most) = (0u64, Duration::ZERO, 0.0f64);
    for case in seed..seed + cases {
        let once = |read: Box<dyn FnOnce() -> Read>| {
            let before = MEMORY.current_usage();
            MEMORY.reset_peak_usage();
            let start = Instant::now();
            let read = read();
            (read, start.elapsed(), MEMORY.peak_usage().saturating_sub(before))
        };
        // A panic is told with the case.
        let told = Told(reader, case);
        let (what, mut time, peak) = once(read(&mut Random(case)));
        if time > Duration::from_secs(1) {
            // Unless the machine was busy with something else.
            time = once(read(&mut Random(case))).1;
        }
        std::mem::forget(told);
        assert!(time < Duration::from_secs(1), "{reader}, case {case}: took {time:?}");
        let limit = (2 * what.given).max(what.made) + constant;
        assert!(
            peak <= limit,
            "{reader}, case {case}: took {peak} bytes for {} of the file, the most is {limit}",
            what.given
        );
        taken += u64::from(what.taken);
        longest = longest.max(time);
        most = most.max(peak as f64 / limit as f64);
    }
    let share = 100.0 * most;
    eprintln!(
        "{reader}: {cases} files, {taken} taken, 0 panics; longest {longest:?}; most memory {share:.0} % of the limit"
    );
}

/// Names the case where a panic unwinds.
struct Told<'a>(&'a str, u64);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        eprintln!("{}: case {} panicked", self.0, self.1);
    }
}

/// A reader whose files make nothing but themselves.
fn plain(given: Vec<u8>, read: impl FnOnce(&[u8]) -> bool + 'static) -> Box<dyn FnOnce() -> Read> {
    Box::new(move || Read { given: given.len(), taken: read(&given), made: 0 })
}

/// `config.json` and `model.safetensors` of a model.
fn files_of(model: &dyn ModelFiles) -> (String, Vec<u8>) {
    let folder = parsers::folder();
    let path = folder.path().join("weights");
    save_weights(model.parameters(), &path).unwrap();
    (serde_json::to_string_pretty(&model.config_json()).unwrap(), fs::read(path).unwrap())
}

fn models() -> Vec<(String, Vec<u8>)> {
    let device = Device::cpu();
    let vocabulary: String = Vocabulary::from_text(LONGSEQ).chars().iter().collect();
    let char = |cell, hidden, embedding, layers| CharModelConfig {
        format: 1,
        experiment: "text".into(),
        tokens: Unit::Characters,
        vocabulary: vocabulary.clone(),
        embedding,
        cell,
        hidden,
        layers,
        dropout: 0.0,
        nonlinearity: Default::default(),
        linear: true,
    };
    let columns = [[1.0, 2.0], [3.0, 5.0]];
    let series = SeriesModelConfig {
        format: 1,
        experiment: "timeseries".into(),
        columns: vec!["Open".into(), "Close".into()],
        target: 1,
        newest_first: false,
        window: 7,
        horizon: 1,
        scaler: Scaler::fit(ScalerKind::Minmax, &[&columns[0], &columns[1]]),
        cell: CellKind::Gru,
        hidden: 10,
        layers: 1,
        dropout: 0.0,
    };
    vec![
        files_of(&CharModel::new(&device, char(CellKind::Rnn, 8, None, 1), 0).unwrap()),
        files_of(&CharModel::new(&device, char(CellKind::Lstm, 24, Some(8), 2), 0).unwrap()),
        // Longer than the constant, so that the file's length counts.
        files_of(&CharModel::new(&device, char(CellKind::Gru, 240, None, 1), 0).unwrap()),
        files_of(&SeriesModel::new(&device, series, 0).unwrap()),
    ]
}

/// The same tensors in another type, each in bytes by `convert`.
fn converted(whole: &[u8], dtype: Dtype, convert: impl Fn(f32) -> Vec<u8>) -> Vec<u8> {
    let tensors = SafeTensors::deserialize(whole).unwrap().tensors();
    let tensors = tensors.into_iter().map(|(name, view)| {
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        (name, view.shape().to_vec(), values.flat_map(&convert).collect::<Vec<u8>>())
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    serialize(views, None).unwrap()
}

#[test]
fn models_and_weights() {
    let _alone = alone();
    let mut models = models();
    let (config, weights) = models[1].clone();
    models.push((
        config.clone(),
        converted(&weights, Dtype::F16, |x| half::f16::from_f32(x).to_le_bytes().into()),
    ));
    models.push((config, converted(&weights, Dtype::F64, |x| f64::from(x).to_le_bytes().into())));
    for (config, weights) in &models {
        assert!(parsers::model(config.as_bytes(), weights), "what is not changed is read");
    }
    each("models", 600, CONSTANT, |random| {
        let (config, weights) = models[random.below(models.len())].clone();
        let other = &models[random.below(models.len())];
        // One of the two files, or both.
        let which = random.below(4);
        let config = match which {
            0 | 1 => config.into_bytes(),
            _ if random.below(2) == 0 => json(random, &config).into_bytes(),
            _ => bytes(random, config.as_bytes(), other.0.as_bytes()),
        };
        let weights = if which < 3 { safetensors(random, &weights, &other.1) } else { weights };
        Box::new(move || {
            let taken = parsers::model(&config, &weights);
            // In 16 bits a file has two bytes for a parameter, whose value and gradient take eight.
            let made = if taken { 4 * weights.len() } else { 0 };
            Read { given: config.len() + weights.len(), taken, made }
        })
    });
    let whole =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch/state_dict.safetensors")).unwrap();
    assert!(parsers::weights(&whole));
    each("weights of PyTorch", 600, CONSTANT, |random| {
        plain(safetensors(random, &whole, &models[0].1), parsers::weights)
    });
    each("weights converted", 300, CONSTANT, |random| {
        let weights = &models[random.below(models.len())].1;
        plain(safetensors(random, weights, &whole), parsers::converted)
    });
}

#[test]
fn checkpoints() {
    let _alone = alone();
    let whole = parsers::a_checkpoint();
    assert!(parsers::checkpoint(&whole), "what is not changed is read");
    let other = models().remove(0).1;
    each("checkpoints", 200, 4 * CONSTANT, |random| {
        plain(safetensors(random, &whole, &other), parsers::checkpoint)
    });
}

#[test]
fn settings() {
    let _alone = alone();
    let files: Vec<String> = Experiment::ALL
        .iter()
        .map(|experiment| {
            let mut config = Config::defaults(*experiment);
            (config.data.file, config.data.csv) = (Some("a.txt".into()), Some("a.csv".into()));
            config.to_toml().unwrap()
        })
        .collect();
    assert!(files.iter().all(|text| parsers::settings(text.as_bytes())), "what is not changed is read");
    each("config.toml", 300, 8 << 20, |random| {
        let [text, other] = [0; 2].map(|_| &files[random.below(files.len())]);
        plain(bytes(random, text.as_bytes(), other.as_bytes()), parsers::settings)
    });
}

/// Tables of several kinds.
fn tables() -> Vec<Vec<u8>> {
    let mut random = Random(0);
    let price = |random: &mut Random| 100.0 + random.below(1_000_000) as f64 / 1e4;
    let mut stock = "# a note\nDate,Open,High,Low,Volume,Close\n".to_string();
    let (mut german, mut quoted) =
        ("Datum;Close;Wert\n".to_string(), "\"Close\"\t\"a, \"\"b\"\"\nc\"\r\n".to_string());
    for day in 0..400 {
        let [a, b, c, d] = [0; 4].map(|_| price(&mut random));
        stock += &format!("2024-01-{day:03},{a:.6},{b:.6},{c:.6},{},{d:.6}\n", random.below(10_000_000));
        german += &format!("{day};{a:.7};{b:.9}\n");
        quoted += &format!("\"{c:.8}\"\t {d:e}\r\n");
    }
    let wide = (0..2000).map(|k| format!("{k}.5000000")).collect::<Vec<_>>().join("|") + "\n";
    [stock, german, quoted, wide.repeat(3)].map(String::into_bytes).to_vec()
}

#[test]
fn csv_files() {
    let _alone = alone();
    let tables = tables();
    for table in &tables {
        assert!(parsers::csv(table) > 0, "what is not changed is read");
    }
    // Now and then a file that is longer than the constant by far, so that its length counts.
    let rows = tables[0].iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
    let long = [&tables[0][..rows], &tables[0][rows..].repeat(40)].concat();
    assert!(long.len() > CONSTANT && parsers::csv(&long) == 80_000);
    each("CSV files", 600, 2 * CONSTANT, |random| {
        let table = if random.below(200) == 0 { &long } else { &tables[random.below(tables.len())] };
        let other = &tables[random.below(tables.len())];
        let table = bytes(random, table, other);
        Box::new(move || {
            let numbers = parsers::csv(&table);
            // In a file a number may take two bytes, in memory it takes eight, and twice that while a column grows. A column
            // takes one byte more in each row, in memory its name and what is wrong with it.
            let separators = |line: &[u8]| line.iter().filter(|byte| b",;|\t".contains(byte)).count();
            let columns = table.split(|byte| b"\r\n".contains(byte)).map(separators).max().unwrap_or(0);
            Read { given: table.len(), taken: numbers > 0, made: 16 * numbers + 1024 * columns }
        })
    });
}

#[test]
fn texts() {
    let _alone = alone();
    let text = LONGSEQ.repeat(20) + "\r\n\u{FEFF}größe 😀\u{10FFFF}\n";
    assert!(parsers::text(text.as_bytes()));
    // Tables over all of Unicode.
    each("texts", 200, 8 << 20, |random| {
        plain(bytes(random, text.as_bytes(), b"\xF4\x8F\xBF\xBF\xFF"), parsers::text)
    });
}

#[test]
fn cases_of_conformance() {
    let _alone = alone();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cases");
    let cases = bptt::verify::conform::cases(&folder).unwrap();
    let cases: Vec<_> = cases
        .iter()
        .step_by(6)
        .map(|case| {
            // The folder of the test has another name.
            let name = case.file_name().unwrap().to_str().unwrap();
            let text = fs::read_to_string(case.join("case.json")).unwrap().replacen(name, "case", 1);
            (text, fs::read(case.join("tensors.safetensors")).unwrap())
        })
        .collect();
    for (text, tensors) in &cases {
        assert!(parsers::case(text.as_bytes(), tensors), "what is not changed is read: {text}");
    }
    each("cases of conformance", 200, 8 << 20, |random| {
        let [(text, tensors), (_, other)] = [0; 2].map(|_| &cases[random.below(cases.len())]);
        let (text, tensors) = match random.below(3) {
            0 => (json(random, text), tensors.clone()),
            _ => (text.clone(), safetensors(random, tensors, other)),
        };
        Box::new(move || Read {
            given: text.len() + tensors.len(),
            taken: parsers::case(text.as_bytes(), &tensors),
            made: 0,
        })
    });
}

#[test]
fn what_runs_leave() {
    let _alone = alone();
    let rows: String = (1..300)
        .map(|step| {
            format!(
                "{{\"step\":{step},\"loss\":{},\"lr\":0.1,\"grad_norm\":1.5,\"validation_loss\":2.25}}\n",
                1.0 / step as f64
            )
        })
        .collect();
    assert!(parsers::metrics(rows.as_bytes()));
    each("metrics.jsonl", 300, CONSTANT, |random| {
        plain(bytes(random, rows.as_bytes(), b"{\"step\":1}\n"), parsers::metrics)
    });

    let forecasts = "# Close: row from 1, the oldest first\npart,row,actual,predicted,naive\n".to_string()
        + &(1..300).map(|row| format!("test,{row},{row}.25,{row}.123456,{row}.75\n")).collect::<String>();
    assert!(parsers::forecasts(forecasts.as_bytes()));
    each("forecasts.csv", 300, CONSTANT, |random| {
        plain(bytes(random, forecasts.as_bytes(), rows.as_bytes()), parsers::forecasts)
    });

    let plans = serde_json::json!({"format": 1, "adapters": {
        Device::cpu().info().to_string(): {"matmul 1 2 3 4 5 6": "tile 8", "lstm_forward 1 2 3 4 5 6": "steps"},
        "another": {"a": "b"},
    }});
    let plans = plans.to_string();
    assert!(parsers::plans(plans.as_bytes()));
    each("plans.json", 300, CONSTANT, |random| plain(json(random, &plans).into_bytes(), parsers::plans));

    let result = serde_json::json!({"event": "done", "steps": 8, "loss": 0.5, "decoded": "ihello", "seconds": [1, {"a": null}]});
    let result = serde_json::to_string_pretty(&result).unwrap();
    assert!(parsers::result(result.as_bytes()));
    each("result.json", 300, CONSTANT, |random| {
        let changed = if random.below(2) == 0 {
            json(random, &result).into_bytes()
        } else {
            bytes(random, result.as_bytes(), b"[]")
        };
        plain(changed, parsers::result)
    });
}

/// Files made to take as much memory or time as a reader lets them.
#[test]
fn the_worst_of_each_kind() {
    let _alone = alone();
    let megabyte = |of: &str| of.repeat((1 << 20) / of.len()).into_bytes();
    /// Its name, the file, the reader, and what that may take beside twice the file.
    type Worst = (&'static str, Vec<u8>, fn(&[u8]) -> bool, usize);
    let worst: Vec<Worst> = vec![
        ("columns", megabyte(","), |b| parsers::csv(b) > 0, 32 << 20),
        (
            "columns of names",
            [&megabyte("a,")[..], b"\n", &megabyte("1,")].concat(),
            |b| parsers::csv(b) > 0,
            32 << 20,
        ),
        (
            "the most columns",
            [&b"1,".repeat((1 << 16) - 1)[..], b"1\n"].concat(),
            |b| parsers::csv(b) > 0,
            64 << 20,
        ),
        ("a quote", [b"a\n\"", &megabyte("1\n")[..]].concat(), |b| parsers::csv(b) > 0, 16 << 20),
        ("lines", megabyte("\n"), |b| parsers::csv(b) > 0, 4 << 20),
        ("one digit a row", megabyte("1\n"), |b| parsers::csv(b) > 0, 16 << 20),
        ("quotes", megabyte("\"\"\n"), |b| parsers::csv(b) > 0, 16 << 20),
        ("comments", megabyte("#,\n"), |b| parsers::csv(b) > 0, 16 << 20),
        ("names of nothing", megabyte("[a]\n"), parsers::settings, 128 << 20),
        ("dotted keys", [&megabyte("a.")[..(1 << 20) - 8], b"a=1"].concat(), parsers::settings, 128 << 20),
        ("nested arrays", [b"a=", &megabyte("[")[8..]].concat(), parsers::settings, 128 << 20),
        ("nested tables", [b"a=", &megabyte("{a=")[8..]].concat(), parsers::settings, 128 << 20),
        ("rows of metrics", megabyte("{\"step\":1,\"loss\":1,\"lr\":1}\n"), parsers::metrics, CONSTANT),
        ("a row without end", megabyte("{\"step\":"), parsers::metrics, CONSTANT),
        ("empty values", [b"[", &megabyte("[],")[1..]].concat(), parsers::result, 32 << 20),
        ("nested values", megabyte("["), parsers::result, CONSTANT),
        (
            "plans",
            [b"{\"format\":1,\"adapters\":{\"a\":{", &megabyte("\"a\":\"\",")[..]].concat(),
            parsers::plans,
            CONSTANT,
        ),
        (
            "commas",
            [b"# a: b\npart,row,actual,predicted,naive\n", &megabyte(",")[..]].concat(),
            parsers::forecasts,
            CONSTANT,
        ),
    ];
    for (name, file, read, constant) in worst {
        each(name, 1, constant, |_| plain(file.clone(), read));
    }
    // Headers: as many tensors as there may be, and more; keys; names.
    let entry = |k: usize| format!(r#""{k}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
    let header = |text: String| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let tensors = |count| header(format!("{{{}}}", (0..count).map(entry).collect::<Vec<_>>().join(",")));
    let (config, _) = models().remove(0);
    for (name, weights) in [
        ("tensors", tensors((1 << 15) - 1)),
        ("more tensors", tensors(1 << 16)),
        ("metadata", header(format!(r#"{{"__metadata__":{{"a":"{}"}}}}"#, "\\n".repeat(1 << 19)))),
    ] {
        let config = config.clone();
        each(name, 1, 48 << 20, |_| {
            let (config, weights) = (config.clone(), weights.clone());
            plain(weights, move |weights| parsers::model(config.as_bytes(), weights))
        });
    }
    // A vocabulary that never ends.
    let endless = config.replacen(" ',", &" ".repeat(1 << 20), 1);
    assert!(endless.len() > 1 << 20, "{config}");
    each("a vocabulary", 1, 1 << 20, |_| {
        plain(endless.clone().into_bytes(), |config| parsers::model(config, &[0; 64]))
    });
}
