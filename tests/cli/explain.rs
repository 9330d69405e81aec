//! `bptt explain`: what it prints and what it refuses.

use serde_json::Value;

use super::harness::{bptt, folder};

/// The one object that a command prints.
fn one(args: &str) -> Value {
    let run = bptt(folder().path(), &format!("explain {args} --json"));
    let mut events = run.events();
    assert_eq!(events.len(), 1, "{run:?}");
    events.remove(0)
}

/// All launches of a step of some kernel in a pass.
fn launches<'e>(event: &'e Value, pass: &str, kernel: &str) -> Vec<&'e Value> {
    let parts = event["step"]["parts"].as_array().unwrap().iter().filter(|part| part["pass"] == pass);
    let all = parts.flat_map(|part| part["launches"].as_array().unwrap());
    all.filter(|launch| launch["kernel"] == kernel).collect()
}

/// Operations and bytes of the only launch of a kernel in a pass.
fn cost(event: &Value, pass: &str, kernel: &str) -> (u64, u64) {
    let found = launches(event, pass, kernel);
    assert_eq!(found.len(), 1, "{kernel}: {found:?}");
    (found[0]["operations"].as_u64().unwrap(), found[0]["bytes"].as_u64().unwrap())
}

#[test]
fn operations_and_bytes_of_hihello() {
    // T steps, one sequence, H units as inputs and classes; a product of m·n sums of k has 2·m·n·k operations.
    let (t, h) = (6, 5);
    let event = one("hihello --device cpu");
    // Two biases, one addition each.
    assert_eq!(
        cost(&event, "forward", "matmul"),
        (2 * t * h * h + 2 * t * h, 4 * (2 * t * h + h * h + 2 * h))
    );
    // Each unit of each step: the product, one addition, tanh. The zero state is written, not read.
    let rnn = (t * h * (2 * h + 2), 4 * (t * h + h * h + (t + 1) * h));
    assert_eq!(cost(&event, "forward", "rnn_forward"), rnn);
    // The product and its addition but at the last step; then dy + arriving, (1 - y), (1 + y), and two products.
    let back = ((t - 1) * h * (2 * h + 1) + 5 * t * h, 4 * (t * h + h * h + t * h + h + t * h));
    assert_eq!(cost(&event, "backward", "rnn_backward"), back);
    // The gradients of W_ih and W_hh: one matmul each, of which two in succession are told together.
    let products = launches(&event, "backward", "matmul");
    let operations: u64 = products.iter().map(|launch| launch["operations"].as_u64().unwrap()).sum();
    let bytes: u64 = products.iter().map(|launch| launch["bytes"].as_u64().unwrap()).sum();
    assert_eq!((operations, bytes), (2 * (2 * h * h * t), 2 * 4 * (2 * t * h + h * h)));
    // Both biases: T additions a column, and the scale.
    assert_eq!(cost(&event, "backward", "column_sum"), (2 * h * (t + 1), 2 * 4 * (t * h + h)));
    assert_eq!(event["step"]["parts"][0]["operation"], "rnn");
    assert!(event["step"]["parts"][0]["about"].to_string().contains("h_t = act("), "{event}");
}

#[test]
fn operations_and_bytes_of_a_layer() {
    let (t, b, h) = (5, 3, 8);
    for (device, precision, size) in [("cpu", "f32", 4), ("cpu", "f16", 2), ("gpu", "f32", 4)] {
        let args =
            format!("lstm --time {t} --batch {b} --hidden {h} --device {device} --precision {precision}");
        let event = one(&args);
        let unit = t * b * h;
        // Four products and four additions a unit, four gates, c of 3 operations and h of 2.
        let operations = unit * (4 * (2 * h + 1) + 4 + 5);
        // In one launch: xw, W_hh, gates, and the slots of c and h. In steps W_hh and a slot come again each time.
        let bytes = size * (4 * unit + 4 * h * h + 4 * unit + 2 * (t + 1) * b * h);
        let found = cost(&event, "forward", "lstm_forward");
        assert_eq!(found.0, operations, "{args}");
        let forward = launches(&event, "forward", "lstm_forward");
        if forward[0]["count"] == 1 {
            assert_eq!(found.1, bytes, "{args}");
        } else {
            assert_eq!(found.1, bytes + size * (t - 1) * (4 * h * h + 2 * b * h), "{args}");
        }
        let choice = &forward[0]["choice"];
        let ways: Vec<&Value> = choice["ways"].as_array().unwrap().iter().map(|way| &way["way"]).collect();
        match device {
            "cpu" => assert!(ways.is_empty(), "{choice}"),
            _ => assert!(ways.len() >= 2 && ways.contains(&&choice["taken"]), "{choice}"),
        }
        let bound = &forward[0]["bound"];
        assert!(bound["seconds"].as_f64().unwrap() > 0.0 && forward[0]["seconds"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn schedules_agree() {
    let (t, device) = (4u64, "gpu");
    let event = one(&format!("gru --schedules --time {t} --batch 2 --hidden 8 --device {device}"));
    let layer = &event["layers"][0];
    assert_eq!(layer["sizes"].to_string(), format!("[{t},2,8,8]"));
    let ways = layer["ways"].as_array().unwrap();
    let named = |name: &str| {
        ways.iter().find(|way| way["name"] == name).unwrap_or_else(|| panic!("{name}: {ways:?}"))
    };
    let launches = |name: &str| named(name)["launches"].as_u64().unwrap();
    // A launch for each step in place of one, forward and backward.
    assert_eq!(launches("tiles, step"), launches("tiles, sequence") + 2 * (t - 1));
    assert!(launches("single operations") > launches("tiles, step"));
    assert!(ways[0]["name"].as_str().unwrap().starts_with("chosen: "));
    for way in ways {
        let difference = way["difference"].as_f64().unwrap();
        // Sums of 8 and of 16 numbers within 1, by three gates and four steps: some ten roundings of 2^-24, and tanh's 4e-7.
        assert!(difference < 2e-5, "{way}");
        assert!(way["bytes"].as_u64().unwrap() > 0 && way["seconds"].as_f64().unwrap() > 0.0, "{way}");
    }
    // An experiment's layers, and the one way of the CPU.
    let event = one("longseq --schedules --device cpu");
    assert_eq!(event["layers"].as_array().unwrap().len(), 1, "two layers of one shape");
    assert_eq!(event["layers"][0]["ways"].as_array().unwrap().len(), 2);
}

#[test]
fn schedules_are_measured_in_the_precision_asked_for() {
    for device in ["cpu", "gpu"] {
        let of = |precision: &str| {
            let args = format!("gru --schedules --time 4 --batch 2 --hidden 8 --device {device}");
            let event = one(&format!("{args} --precision {precision}"));
            let layer = &event["layers"][0];
            assert_eq!(layer["precision"], precision);
            layer["ways"].as_array().unwrap().clone()
        };
        // Single operations round each result, to 2^-11 and to 2^-8 of it: some twenty roundings. In 32 bits it is some 1e-6.
        let full = of("f32");
        for (precision, least, most) in [("f16", 1e-5, 1e-2), ("bf16", 1e-4, 8e-2)] {
            let half = of(precision);
            assert_eq!(half.len(), full.len());
            for (half, full) in half.iter().zip(&full) {
                let share = half["bytes"].as_f64().unwrap() / full["bytes"].as_f64().unwrap();
                assert!((0.4..0.8).contains(&share), "{half} {full}");
                let difference = half["difference"].as_f64().unwrap();
                let itself = half["name"] == "single operations";
                assert!(if itself { difference == 0.0 } else { difference < most }, "{half}");
            }
            let differ = |way: &Value| way["difference"].as_f64().unwrap() > least;
            assert!(half.iter().any(differ), "{half:?}");
        }
    }
}

#[test]
fn kernels_with_their_twins() {
    let event = one("hihello --kernel rnn_forward --device gpu");
    let shader = &event["shader"];
    assert_eq!(shader["launched"], true);
    let text = shader["wgsl"].as_str().unwrap();
    assert!(text.contains("fn finish(row: u32") && text.contains("struct Params"), "{text}");
    assert!(shader["twin"].as_str().unwrap().contains("pub fn rnn_forward<R: Real>"));
    assert_eq!(shader["twin_file"], "src/cpu/rnn_forward.rs");
    let half = one("hihello --kernel rnn_forward --variant tiles --precision bf16 --device cpu");
    assert!(half["shader"]["wgsl"].as_str().unwrap().contains("of_bf16("), "{half}");
    assert_eq!(one("hihello --kernel gru_forward --device cpu")["shader"]["launched"], false);
    let folder = folder();
    let run = bptt(folder.path(), "explain --kernel adam --device cpu");
    assert!(run.out.contains("shaders/adam.wgsl") && run.out.contains("src/cpu/adam.rs"), "{run:?}");
}

#[test]
fn numbers_lead_to_the_lines_that_compute_them() {
    let folder = folder();
    for device in ["cpu", "gpu"] {
        let run = bptt(folder.path(), &format!("explain --values --device {device}"));
        // "shaders/FILE:LINE" at the end of h_t: the line has tanh.
        let line = run.out.lines().find(|line| line.trim_start().starts_with("h_t ")).expect("h_t is there");
        let place = line.split_whitespace().last().unwrap();
        let (file, number) = place.split_once(':').unwrap();
        let text = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let found = text.lines().nth(number.parse::<usize>().unwrap() - 1).unwrap();
        assert!(file == "shaders/rnn_forward.wgsl" && found.contains("tanh_of_each(a)"), "{place}: {found}");
        assert!(line.contains("shaders/recurrent_"), "the sums too: {line}");
        assert_eq!(run.out.matches("forward, step ").count(), 6);
        assert_eq!(run.out.matches("backward, step ").count(), 6);
    }
    let run = bptt(folder.path(), "explain charseq --cell gru --linear --at 3,2 --device cpu");
    assert!(run.out.contains("finite difference of the loss: "), "{run:?}");
}

#[test]
fn all_that_can_be_walked_through() {
    // Arguments, lines that are printed, and the samples of a batch.
    for (args, lines, batch) in [
        (
            "lstm",
            vec!["forward, step 2", "  xw_o", "  dW_ih f", "the loss is the mean of 6 squared errors: "],
            1,
        ),
        ("gru --precision bf16", vec!["  dW_hh n", "are stored as bf16"], 1),
        ("rnn --batch 3 --sample 2", vec!["of which the 2 other samples:", "sample 2 of 3"], 3),
        ("longseq", vec![" layer 1", " linear layer", "of which the 169 other samples: dW_ih of norm"], 170),
        ("timeseries", vec!["  target", "  dL/dy", "the loss does not read this step's output"], 505),
        ("text --hidden 8 --embedding 4 --sequence 5", vec!["should say ", "classes: 0 "], 2),
    ] {
        let folder = folder();
        let run = bptt(folder.path(), &format!("explain {args} --values --device cpu"));
        for line in &lines {
            assert!(run.out.contains(line), "{args}: no {line} in {}", run.out);
        }
        let event = one(&format!("{args} --at 1,1 --device cpu"));
        assert_eq!(event["walk"]["batch"], batch, "{args}");
        let [loss, reference] =
            [&event["walk"]["outputs"]["loss"], &event["reference_loss"]].map(|x| x.as_f64().unwrap());
        // Half precision: some ten roundings of 2^-9.
        let limit = if args.contains("bf16") { 0.02 } else { 1e-5 };
        assert!((loss - reference).abs() <= limit * reference, "{args}: {loss}, {reference}");
    }
}

#[test]
fn what_cannot_be_explained() {
    let folder = folder();
    bptt(folder.path(), "train charseq --steps 1 --out run").done();
    for (args, says) in [
        ("hihello --kernel rnn_foward", "no kernel is called 'rnn_foward'; did you mean rnn_forward?"),
        ("hihello --kernel nosuch", "no kernel is called 'nosuch'; there are binary, unary, "),
        ("hihello --values --at 3,1", "'--values' cannot be used with '--at <T,K>'"),
        ("hihello --kernel adam --variant tiles", "adam has no variant 'tiles'; it has elements, fours"),
        ("lstm --hidden 70000", "--hidden must be from 1 to 65536, got 70000"),
        ("lstm --batch 0", "--batch must be from 1 to 65536, got 0"),
        ("gru --time 60000 --batch 60000", "numbers, more than 1073741824: take smaller sizes"),
        ("lstm --layers 2", "--layers is no option of lstm"),
        ("hihello --time 4", "--time is for rnn, lstm and gru; hihello has the steps of its data"),
        ("lstm --values --hidden 40", "rows of 40 are longer than 32: shorten them by --hidden"),
        ("lstm --values --time 65", "65 steps are more than 64: take fewer by --time"),
        ("lstm --values --sample 1", "--sample must be from 0 to 0, got 1: the size of the batch is 1"),
        ("lstm --sample 1", "required arguments were not provided: <--values|--at <T,K>>"),
        ("charseq --at 1,1 --layers 2 --dropout 0.5", "here dropout leaves numbers out: take --dropout 0"),
        ("lstm --config run/config.toml", "--config has the settings of an experiment: leave out lstm"),
        ("text --config run/config.toml", "run/config.toml is of the experiment charseq, not text"),
        ("hihello --at 6,0", "--at takes a step from 0 to 5 and a unit from 0 to 4, got 6,0"),
        ("hihello --at 1", "must be a step and a unit, 3,0 say"),
        ("hihello --at 1,1 --layer 1", "--layer must be from 0 to 0, got 1"),
        ("hihelo", "invalid value 'hihelo'"),
    ] {
        let run = bptt(folder.path(), &format!("explain {args} --device cpu"));
        let found = run.failed(2);
        assert!(found.contains(says) && !found.contains('\n'), "{args}: {found}");
    }
}

#[test]
fn settings_of_a_file_are_taken() {
    let folder = folder();
    bptt(folder.path(), "train charseq --cell gru --linear --hidden 7 --steps 1 --out run").done();
    let title = |args: &str| {
        let run = bptt(folder.path(), &format!("explain --config run/config.toml {args} --device cpu"));
        run.done().to_string()
    };
    assert!(title("").contains("value 5 [15, 1, 7]"), "{}", title(""));
    assert!(title("--hidden 8").contains("value 5 [15, 1, 8]"));
}
