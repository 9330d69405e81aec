//! Cells and recurrent layers, on batches and on single sequences, compared with what PyTorch computed: see
//! tests/pytorch/README.md, `single_sequences`.

mod common;

use bptt::device::Host;
use bptt::prelude::*;
use common::{Stored, assert_conforms, devices, stored};

/// Cells, and layers with every kind of state, on a batch and on a sequence without that dimension.
#[test]
fn single_sequences_are_pytorchs() {
    let tensors = stored("single_sequences");
    for device in devices() {
        let mut cases = 0;
        for name in ["rnn_cell", "rnn_cell_relu", "lstm_cell", "gru_cell", "rnn", "lstm", "gru"] {
            let mut init = Initializer::new(&device, 0);
            let module = Module::new(&mut init, name);
            let parameters = init.build().unwrap();
            for (parameter, _) in parameters.names() {
                let values =
                    tensors[&format!("{name}.param.{}", parameter.strip_prefix("m.").unwrap())].f32();
                parameters.set(parameter, Host::F32(&values)).unwrap();
            }
            for case in ["batched", "unbatched"] {
                let part = |key: &str| tensors.get(&format!("{name}.{case}.{key}"));
                let on_device =
                    |stored: &Stored| Tensor::from_f32(&device, &stored.shape[..], &stored.f32()).unwrap();
                parameters.zero_grad();
                let mut tape = Tape::new(&parameters);
                let inputs =
                    ["x", "h0", "c0"].map(|key| part(key).map(|stored| tape.input(&on_device(stored))));
                let results = module.run(&mut tape, inputs);
                let mut total: Option<Var> = None;
                let label = |what: &str| format!("{device:?} {name} {case} {what}");
                for (key, result) in &results {
                    let expected = part(&format!("expect.{key}")).unwrap();
                    let got = tape.value(*result).unwrap().clone();
                    assert_eq!(got.shape()[..], expected.shape[..], "{}", label(key));
                    assert_conforms(&label(key), &got.to_vec().unwrap(), &expected.values, 2e-5);
                    let cotangent = tape.constant(&on_device(part(&format!("cotangent.{key}")).unwrap()));
                    let product = tape.mul(*result, cotangent).unwrap();
                    let sum = tape.sum(product).unwrap();
                    total = Some(total.map_or(Ok(sum), |total| tape.add(total, sum)).unwrap());
                }
                tape.backward(total.unwrap()).unwrap();
                for (key, input) in ["x", "h0", "c0"].into_iter().zip(inputs) {
                    let Some(input) = input else { continue };
                    let gradient = tape.gradient(input).unwrap().unwrap().to_vec().unwrap();
                    let expected = part(&format!("expect.grad.{key}")).unwrap();
                    assert_conforms(&label(key), &gradient, &expected.values, 2e-4);
                }
                for (parameter, _) in parameters.names() {
                    let id = parameters.id(parameter).unwrap();
                    let gradient = parameters.gradient(id).unwrap().to_vec().unwrap();
                    let key = format!("expect.grad.param.{}", parameter.strip_prefix("m.").unwrap());
                    assert_conforms(&label(parameter), &gradient, &part(&key).unwrap().values, 2e-4);
                }
                cases += 1;
            }
        }
        assert_eq!(cases, 14);
    }
}

/// The modules of `single_sequences.safetensors`.
enum Module {
    RnnCell(RnnCell),
    LstmCell(LstmCell),
    GruCell(GruCell),
    Rnn(Rnn),
    Lstm(Lstm),
    Gru(Gru),
}

impl Module {
    fn new(init: &mut Initializer, name: &str) -> Module {
        let (input_size, hidden_size) = (3, 4);
        let (num_layers, bidirectional) = (2, true);
        let cell = CellConfig { input_size, hidden_size, bias: true };
        let nonlinearity = if name.ends_with("relu") { Nonlinearity::Relu } else { Nonlinearity::Tanh };
        let made = match name {
            "rnn_cell" | "rnn_cell_relu" => {
                let config = RnnCellConfig { input_size, hidden_size, bias: true, nonlinearity };
                RnnCell::new(init, "m", &config).map(Module::RnnCell)
            }
            "lstm_cell" => LstmCell::new(init, "m", &cell).map(Module::LstmCell),
            "gru_cell" => GruCell::new(init, "m", &CellConfig { bias: false, ..cell }).map(Module::GruCell),
            "rnn" => {
                let rest = RnnConfig::default();
                let config = RnnConfig { input_size, hidden_size, num_layers, bidirectional, ..rest };
                Rnn::new(init, "m", &config).map(Module::Rnn)
            }
            "lstm" => {
                let rest = LstmConfig { proj_size: 2, ..LstmConfig::default() };
                let config = LstmConfig { input_size, hidden_size, num_layers, bidirectional, ..rest };
                Lstm::new(init, "m", &config).map(Module::Lstm)
            }
            "gru" => {
                let rest = GruConfig { batch_first: true, ..GruConfig::default() };
                let config = GruConfig { input_size, hidden_size, num_layers, bidirectional, ..rest };
                Gru::new(init, "m", &config).map(Module::Gru)
            }
            other => panic!("{other} is no module of the file"),
        };
        made.unwrap()
    }

    /// The results with their names, from x, h0 and c0.
    fn run(&self, tape: &mut Tape, [x, h0, c0]: [Option<Var>; 3]) -> Vec<(&'static str, Var)> {
        let x = x.expect("every module has an input");
        let states = h0.zip(c0).map(|(h0, c0)| [h0, c0]);
        match self {
            Module::RnnCell(cell) => vec![("h", cell.forward(tape, x, h0).unwrap())],
            Module::GruCell(cell) => vec![("h", cell.forward(tape, x, h0).unwrap())],
            Module::LstmCell(cell) => {
                let [h, c] = cell.forward(tape, x, states).unwrap();
                vec![("h", h), ("c", c)]
            }
            Module::Rnn(layers) => {
                let states = layers.forward(tape, x, h0).unwrap();
                vec![("output", states.output), ("h_n", states.h_n(tape).unwrap())]
            }
            Module::Gru(layers) => {
                let states = layers.forward(tape, x, h0).unwrap();
                vec![("output", states.output), ("h_n", states.h_n(tape).unwrap())]
            }
            Module::Lstm(layers) => {
                let result = layers.forward(tape, x, states).unwrap();
                let (h_n, c_n) = (result.h_n(tape).unwrap(), result.c_n(tape).unwrap());
                vec![("output", result.output), ("h_n", h_n), ("c_n", c_n)]
            }
        }
    }
}
