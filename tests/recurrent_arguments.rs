//! A caller's mistakes with recurrent layers: the errors name the layer, the argument, what was expected and what was found. Some
//! are only worth a warning.

mod common;

use std::sync::Mutex;

use bptt::device::Device;
use bptt::prelude::*;
use common::assert_refused;

#[test]
fn recurrent_layers_refuse_what_does_not_fit() {
    let device = Device::cpu();
    let tensor = |shape: &[usize]| Tensor::uniform(&device, shape, [-1.0, 1.0], 0, 0).unwrap();
    let lengths = |lengths: &[usize]| Lengths::new(&device, lengths).unwrap();
    assert_refused("Lengths", Lengths::new(&device, &[2, 0]), &["from 1 to", "got 0", "sequence 1"]);
    assert_refused(
        "Lengths",
        Lengths::new(&device, &[1 << 40]),
        &["from 1 to 2147483647", "1099511627776", "sequence 0"],
    );

    let mut init = Initializer::new(&device, 0);
    let config = LstmConfig { input_size: 2, hidden_size: 3, proj_size: 1, ..LstmConfig::default() };
    let lstm = Lstm::new(&mut init, "decoder", &config).unwrap();
    let config = CellConfig { input_size: 2, hidden_size: 3, bias: true };
    let cell = GruCell::new(&mut init, "cell", &config).unwrap();
    let parameters = init.build().unwrap();
    let run = |x: &[usize], states: Option<[&[usize]; 2]>, lengths: Option<Lengths>| {
        let mut tape = Tape::new(&parameters);
        let x = tape.input(&tensor(x));
        let states = states.map(|states| states.map(|state| tape.input(&tensor(state))));
        match lengths {
            None => lstm.forward(&mut tape, x, states),
            Some(lengths) => lstm.forward_lengths(&mut tape, x, states, &lengths),
        }
    };
    let states: fn(usize) -> Option<[&'static [usize]; 2]> =
        |wrong| Some(if wrong == 0 { [&[1, 5, 3], &[1, 5, 3]] } else { [&[1, 5, 1], &[1, 5, 1]] });
    for (what, outcome, fragments) in [
        ("input", run(&[4, 5, 3], None, None), &["Lstm: decoder: input", "[.., 2]", "[4, 5, 3]"][..]),
        ("h0", run(&[4, 5, 2], states(0), None), &["decoder", "h0", "[1, 5, 1]", "[1, 5, 3]"]),
        ("c0", run(&[4, 5, 2], states(1), None), &["decoder", "c0", "[1, 5, 3]", "[1, 5, 1]"]),
        (
            "count",
            run(&[4, 3, 2], None, Some(lengths(&[1, 2]))),
            &["decoder", "lengths", "3 sequences", "got 2"],
        ),
        (
            "length",
            run(&[4, 2, 2], None, Some(lengths(&[4, 5]))),
            &["decoder", "at most 4", "got 5", "sequence 1"],
        ),
    ] {
        assert_refused(what, outcome, fragments);
    }
    let mut tape = Tape::new(&parameters);
    let [x, h] = [[4, 3], [4, 2]].map(|shape| tape.input(&tensor(&shape)));
    assert_refused("cell", cell.forward(&mut tape, x, None), &["GruCell: cell: input", "[B, 2]", "[4, 3]"]);
    assert_refused(
        "cell",
        cell.forward(&mut tape, h, Some(h)),
        &["GruCell: cell: the state h", "[4, 3]", "[4, 2]"],
    );

    let init = &mut Initializer::new(&device, 0);
    for proj_size in [3, 4] {
        let config = LstmConfig { hidden_size: 3, proj_size, ..LstmConfig::default() };
        assert_refused("projection", Lstm::new(init, "x", &config), &["proj_size", "below", "3"]);
    }
    for dropout in [-0.1, 1.5, f64::NAN] {
        let config = GruConfig { dropout, num_layers: 2, ..GruConfig::default() };
        assert_refused(
            "dropout",
            Gru::new(init, "x", &config),
            &["Gru: x: dropout", "from 0 to 1", &dropout.to_string()],
        );
    }
}

/// What the library warns of.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        WARNINGS.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }
    fn flush(&self) {}
}

/// As PyTorch does, a layer takes dropout that does nothing, but says so.
#[test]
fn dropout_with_one_layer_warns() {
    log::set_logger(&Collector).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let device = Device::cpu();
    let make = |name: &str, num_layers| {
        let config = RnnConfig { dropout: 0.5, num_layers, ..RnnConfig::default() };
        Rnn::new(&mut Initializer::new(&device, 0), name, &config).unwrap();
    };
    make("one_layer", 1);
    make("two_layers", 2);
    let warnings = WARNINGS.lock().unwrap();
    let of = |name: &str| warnings.iter().filter(|w| w.contains(name)).collect::<Vec<_>>();
    assert_eq!(of("two_layers"), Vec::<&String>::new());
    assert!(of("one_layer")[0].starts_with("WARN") && of("one_layer")[0].contains("0.5"), "{warnings:?}");
}
