//! A caller's mistakes: each is an error that says what was expected and what was found, and nothing panics.

mod common;

use bptt::cpu::binary::{ADD, BINARY, Binary};
use bptt::cpu::fill::{FILL, Fill};
use bptt::cpu::walk::flat;
use bptt::device::{Arg, Buffer, Device, Host};
use bptt::error::Result;
use bptt::kernel::{Access, Dtype, Plan};
use bptt::nn::{
    Embedding, EmbeddingConfig, Gru, GruConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, Lstm,
    LstmConfig, Rnn, RnnConfig,
};
use bptt::ops::cross_entropy::{ClassWeights, CrossEntropyLoss};
use bptt::ops::indices::Indices;
use bptt::ops::recurrent::{Nonlinearity, Order, RecurrentWeights, Stacked};
use bptt::optim::{Adam, AdamConfig, Optimizer, Sgd, SgdConfig};
use bptt::parameters::{Init, Initializer, Parameters};
use bptt::tape::{DropoutStream, Tape, Var};
use bptt::tensor::{Shape, Tensor};
use common::{assert_refused, devices, gpu, refused};

fn rnn(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    let biases = v.get(4).map(|b_hh| [v[3], *b_hh]);
    let weights = RecurrentWeights { w_ih: v[1], w_hh: v[2], biases, w_hr: None };
    Ok(tape.rnn(v[0], v.get(5).copied(), weights, Nonlinearity::Tanh, Order::default())?[0])
}

fn projected(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    let weights = RecurrentWeights { w_ih: v[1], w_hh: v[2], biases: None, w_hr: Some(v[3]) };
    Ok(tape.rnn(v[0], None, weights, Nonlinearity::Tanh, Order::default())?[0])
}

fn lstm(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    let weights = RecurrentWeights { w_ih: v[1], w_hh: v[2], biases: None, w_hr: Some(v[3]) };
    Ok(tape.lstm(v[0], [Some(v[4]), Some(v[5])], weights, Order::default())?[0])
}

/// Both directions, of which the first has a projection where there is a sixth input.
fn both(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    let first = RecurrentWeights { w_ih: v[1], w_hh: v[2], biases: None, w_hr: v.get(5).copied() };
    let second = RecurrentWeights { w_ih: v[3], w_hh: v[4], biases: None, w_hr: None };
    Ok(tape.bidirectional_lstm(v[0], [[None; 2]; 2], [first, second], None)?[0])
}

/// Layers one behind the other: of each its states and weights, without biases.
fn layers(tape: &mut Tape, states: usize, weights: &[[Var; 2]], x: Var, stagger: usize) -> Result<Var> {
    let weights: Vec<RecurrentWeights> = weights
        .iter()
        .map(|[w_ih, w_hh]| RecurrentWeights { w_ih: *w_ih, w_hh: *w_hh, biases: None, w_hr: None })
        .collect();
    Ok(tape.gru_layers(x, &vec![None; states], &weights, Stacked { stagger, dropout: 0.0, lengths: None })?.0)
}

fn too_often_dropped(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    let weights = RecurrentWeights { w_ih: v[1], w_hh: v[2], biases: None, w_hr: None };
    let stacked = Stacked { stagger: 4, dropout: 1.5, lengths: None };
    Ok(tape.rnn_layers(v[0], &[None; 2], &[weights; 2], Nonlinearity::Tanh, stacked)?.0)
}

fn projected_layers(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    let stream = Some(DropoutStream { seed: 1, calls: 2 });
    tape.set_training(stream);
    let weights =
        [None, Some(v[5])].map(|w_hr| RecurrentWeights { w_ih: v[1], w_hh: v[2], biases: None, w_hr });
    let stacked = Stacked { stagger: 4, dropout: 0.5, lengths: None };
    let refused = tape.lstm_layers(v[0], &[[None; 2]; 2], &weights, stacked);
    assert_eq!(tape.training(), stream, "what is refused draws no random numbers");
    Ok(refused?.0)
}

fn embedding(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    let tokens = Indices::new(tape.device(), [2, 1], &[0, 1])?;
    tape.embedding(&tokens, v[0], None)
}

fn gather(tape: &mut Tape, x: Var, dim: usize) -> Result<Var> {
    let index = Indices::new(tape.device(), [2, 2], &[0, 1, 1, 0])?;
    tape.gather(x, dim, &index)
}

fn cross_entropy(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    let labels = Indices::new(tape.device(), [5], &[0; 5])?;
    tape.cross_entropy(v[0], &labels, &CrossEntropyLoss::default())
}

fn backward(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    tape.backward(v[0]).map(|()| v[0])
}

fn backward_from(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    let cotangent = tape.value(v[1])?.clone();
    tape.backward_from(v[0], &cotangent).map(|()| v[0])
}

type Call = fn(&mut Tape, &[Var]) -> Result<Var>;
/// What is called, the shapes of its inputs, and what the refusal names.
type Mistake = (&'static str, Call, &'static [&'static [usize]], &'static [&'static str]);

#[test]
fn wrong_shapes_are_named() {
    let mistakes: &[Mistake] = &[
        ("matmul", |t, v| t.matmul(v[0], v[1]), &[&[2, 3], &[4, 2]], &["[2, 3]", "[4, 2]"]),
        ("matmul", |t, v| t.matmul(v[0], v[1]), &[&[2, 3], &[3]], &["[2, 3]", "[3]"]),
        ("add", |t, v| t.add(v[0], v[1]), &[&[2, 3], &[3, 2]], &["[2, 3]", "[3, 2]"]),
        ("sub", |t, v| t.sub(v[0], v[1]), &[&[2, 3], &[2]], &["[2, 3]", "[2]"]),
        ("mul", |t, v| t.mul(v[0], v[1]), &[&[2, 3], &[4, 1, 2]], &["[2, 3]", "[4, 1, 2]"]),
        ("div", |t, v| t.div(v[0], v[1]), &[&[2, 3], &[0]], &["[2, 3]", "[0]"]),
        ("sum_dim", |t, v| t.sum_dim(v[0], 2, false), &[&[2, 3]], &["dimension 2", "[2, 3]"]),
        ("mean_dim", |t, v| t.mean_dim(v[0], 0, true), &[&[]], &["dimension 0", "[]"]),
        ("max_dim", |t, v| Ok(t.max_dim(v[0], 2, true)?.0), &[&[2, 3]], &["dimension 2", "[2, 3]"]),
        ("max_dim", |t, v| Ok(t.max_dim(v[0], 1, true)?.0), &[&[2, 0]], &["at least one", "[2, 0]"]),
        ("softmax", |t, v| t.softmax(v[0], 2), &[&[2, 3]], &["dimension 2", "[2, 3]"]),
        ("log_softmax", |t, v| t.log_softmax(v[0], 0), &[&[]], &["dimension 0", "[]"]),
        ("gather", |t, v| gather(t, v[0], 2), &[&[2, 3]], &["dimension 2", "[2, 3]"]),
        ("gather", |t, v| gather(t, v[0], 0), &[&[2, 3]], &["[2, 3]", "[2, 2]"]),
        ("gather", |t, v| gather(t, v[0], 1), &[&[2, 1]], &["index 1", "0..1"]),
        ("layer_norm", |t, v| t.layer_norm(v[0], [2], None, None, 1e-5), &[&[2, 3]], &["[2, 3]", "[2]"]),
        (
            "layer_norm",
            |t, v| t.layer_norm(v[0], [0], None, None, 1e-5),
            &[&[2, 0]],
            &["at least one", "[0]"],
        ),
        (
            "layer_norm",
            |t, v| t.layer_norm(v[0], [3], Some(v[1]), None, 1e-5),
            &[&[2, 3], &[1]],
            &["[3]", "[1]"],
        ),
        ("narrow", |t, v| t.narrow(v[0], 2, 0, 1), &[&[2, 3]], &["dimension 2", "[2, 3]"]),
        ("narrow", |t, v| t.narrow(v[0], 1, 2, 2), &[&[2, 3]], &["2 elements from 2", "[2, 3]"]),
        ("narrow", |t, v| t.narrow(v[0], 1, usize::MAX, 2), &[&[2, 3]], &["dimension 1", "[2, 3]"]),
        ("concat", |t, v| t.concat(v, 0), &[&[2, 3], &[2, 2]], &["[2, 3]", "[2, 2]"]),
        ("concat", |t, v| t.concat(v, 1), &[&[2, 3], &[2]], &["[2, 3]", "[2]"]),
        ("concat", |t, v| t.concat(v, 2), &[&[2, 3]], &["dimension 2", "[2, 3]"]),
        ("concat", |t, _| t.concat(&[], 0), &[], &["at least one"]),
        ("bias_add", |t, v| t.bias_add(v[0], v[1]), &[&[2, 3], &[2]], &["[2, 3]", "[2]"]),
        ("bias_add", |t, v| t.bias_add(v[0], v[1]), &[&[2, 3], &[1, 3]], &["[2, 3]", "[1, 3]"]),
        ("linear", |t, v| t.linear(v[0], v[1], None), &[&[2, 3], &[3, 4]], &["[2, 3]", "[3, 4]"]),
        ("linear", |t, v| t.linear(v[0], v[1], None), &[&[2, 3], &[3]], &["[2, 3]", "[3]"]),
        ("linear", |t, v| t.linear(v[0], v[1], Some(v[2])), &[&[2, 3], &[4, 3], &[3]], &["[4, 3]", "[3]"]),
        ("reshape", |t, v| t.reshape(v[0], [4, 2]), &[&[2, 3]], &["[2, 3]", "[4, 2]"]),
        ("transpose", |t, v| t.transpose(v[0], 0, 1), &[&[7]], &["dimension 1", "[7]"]),
        ("permute", |t, v| t.permute(v[0], &[0, 0]), &[&[2, 3]], &["[0, 0]", "[2, 3]"]),
        ("permute", |t, v| t.permute(v[0], &[0, 2]), &[&[2, 3]], &["[0, 2]", "[2, 3]"]),
        ("permute", |t, v| t.permute(v[0], &[0]), &[&[2, 3]], &["[0]", "[2, 3]"]),
        ("select", |t, v| t.select(v[0], 0, 2), &[&[2, 3]], &["element 2", "[2, 3]"]),
        ("select", |t, v| t.select(v[0], 0, 0), &[&[]], &["no dimension 0", "[]"]),
        ("select", |t, v| t.select(v[0], 1, 3), &[&[2, 3]], &["element 3", "dimension 1", "[2, 3]"]),
        ("stack", |t, v| t.stack(v, 3), &[&[2, 3]], &["dimension 3", "[2, 3]"]),
        ("stack", |t, v| t.stack(v, 0), &[&[2, 3], &[3, 2]], &["[2, 3]", "[3, 2]"]),
        ("stack", |t, _| t.stack(&[], 0), &[], &["at least one"]),
        ("embedding", embedding, &[&[3]], &["[2, 1]", "[3]"]),
        ("cross_entropy", cross_entropy, &[&[2, 3, 4]], &["[2, 3, 4]", "[2, 3]", "[5]"]),
        ("cross_entropy", cross_entropy, &[&[5, 0]], &["at least one class", "[5, 0]"]),
        ("cross_entropy", cross_entropy, &[&[]], &["at least one class", "[]"]),
        ("rnn", rnn, &[&[4, 3], &[5, 3], &[5, 5]], &["[4, 3]", "[5, 3]"]),
        ("rnn", rnn, &[&[4, 2, 3], &[5, 2], &[5, 5]], &["W_ih", "[5, 3]", "[5, 2]"]),
        ("rnn", rnn, &[&[4, 2, 3], &[6, 3], &[5, 5]], &["W_hh", "[6, 6]", "[5, 5]"]),
        ("rnn", rnn, &[&[4, 2, 3], &[5, 3], &[4, 5]], &["W_hh", "[5, 5]", "[4, 5]"]),
        ("rnn", rnn, &[&[4, 2, 3], &[5, 3], &[]], &["[5, 3]", "[]"]),
        ("rnn", rnn, &[&[4, 2, 3], &[5, 3], &[5, 5], &[5], &[4]], &["b_hh", "[5]", "[4]"]),
        ("rnn", rnn, &[&[4, 2, 3], &[5, 3], &[5, 5], &[5], &[5], &[3, 5]], &["h0", "[3, 5]", "[2, 5]"]),
        ("rnn", projected, &[&[4, 2, 3], &[5, 3], &[5, 5], &[5, 5]], &["W_hr", "only an LSTM"]),
        (
            "lstm",
            lstm,
            &[&[4, 2, 3], &[20, 3], &[20, 4], &[4, 5], &[2, 5], &[2, 5]],
            &["h0", "[2, 4]", "[2, 5]"],
        ),
        (
            "lstm",
            lstm,
            &[&[4, 2, 3], &[20, 3], &[20, 4], &[4, 6], &[2, 4], &[2, 5]],
            &["W_hr", "[4, 5]", "[4, 6]"],
        ),
        (
            "lstm",
            lstm,
            &[&[4, 2, 3], &[20, 3], &[20, 4], &[4, 5], &[2, 4], &[2, 4]],
            &["c0", "[2, 5]", "[2, 4]"],
        ),
        (
            "lstm",
            both,
            &[&[4, 2, 3], &[20, 3], &[20, 5], &[16, 3], &[16, 4]],
            &["two directions of the same sizes"],
        ),
        (
            "lstm",
            both,
            &[&[4, 2, 3], &[20, 3], &[20, 5], &[20, 3], &[20, 5], &[5, 5]],
            &["with a projection takes one direction"],
        ),
        ("rnn", rnn, &[&[0, 2, 3], &[5, 3], &[5, 5]], &["at least one step"]),
        ("gru_layers", |t, v| layers(t, 0, &[], v[0], 1), &[&[4, 2, 3]], &["at least one layer", "0 and 0"]),
        (
            "gru_layers",
            |t, v| layers(t, 1, &[[v[1], v[2]]; 2], v[0], 1),
            &[&[4, 2, 3], &[12, 3], &[12, 4]],
            &["states of each", "2 and 1"],
        ),
        (
            "gru_layers",
            |t, v| layers(t, 2, &[[v[1], v[2]]; 2], v[0], 12),
            &[&[40, 2, 4], &[12, 4], &[12, 4]],
            &["multiple of 8 steps", "12"],
        ),
        (
            "gru_layers",
            |t, v| layers(t, 2, &[[v[1], v[2]]; 2], v[0], 0),
            &[&[40, 2, 4], &[12, 4], &[12, 4]],
            &["multiple of 8 steps", "0"],
        ),
        ("rnn_layers", too_often_dropped, &[&[4, 2, 4], &[4, 4], &[4, 4]], &["from 0 to 1", "1.5"]),
        (
            "gru_layers",
            |t, v| layers(t, 2, &[[v[1], v[2]], [v[3], v[4]]], v[0], 8),
            &[&[40, 2, 3], &[12, 3], &[12, 4], &[12, 3], &[12, 4]],
            &["W_ih", "[12, 4]", "[12, 3]"],
        ),
        (
            "gru_layers",
            |t, v| layers(t, 2, &[[v[1], v[2]], [v[3], v[4]]], v[0], 8),
            &[&[40, 2, 3], &[12, 3], &[12, 4], &[15, 4], &[15, 5]],
            &["layers of the same sizes"],
        ),
        (
            "gru_layers",
            |t, v| layers(t, 1, &[[v[1], v[2]]], v[0], 8),
            &[&[], &[12, 3], &[12, 4]],
            &["of 3, 2 and 2 dimensions"],
        ),
        (
            "lstm_layers",
            projected_layers,
            &[&[4, 2, 4], &[16, 4], &[16, 4], &[1], &[1], &[4, 4]],
            &["with a projection takes one layer"],
        ),
        ("backward", backward, &[&[2]], &["single number", "[2]"]),
        ("backward", backward_from, &[&[2, 3], &[3, 2]], &["[2, 3]", "[3, 2]"]),
    ];
    for device in devices() {
        for (name, call, shapes, fragments) in mistakes {
            let mut tape = Tape::without_parameters(&device);
            let input =
                |shape: &&[usize]| tape.input(&Tensor::uniform(&device, *shape, [-1.0, 1.0], 0, 0).unwrap());
            let inputs: Vec<Var> = shapes.iter().map(input).collect();
            let what = format!("{name} of {shapes:?}");
            let message = assert_refused(&what, call(&mut tape, &inputs), fragments);
            assert!(message.starts_with(name), "{what}: \"{message}\" does not say who refuses");
        }
    }
}

#[test]
fn wrong_shapes_are_named_by_tensors_and_layers() {
    let device = Device::cpu();
    let tensor = |shape: &[usize]| Tensor::uniform(&device, shape, [-1.0, 1.0], 0, 0).unwrap();
    assert_refused("from_f32", Tensor::from_f32(&device, [2, 3], &[0.0; 5]), &["[2, 3]", "6", "5"]);
    assert_refused("too many", Tensor::empty(&device, Dtype::F32, [1 << 16, 1 << 16]), &["2^32"]);
    assert_refused("reshape", tensor(&[2, 3]).reshape([4, 2]), &["[2, 3]", "[4, 2]"]);
    assert_refused("slice", tensor(&[2, 3]).slice(3, [4]), &["[4]", "element 3", "[2, 3]"]);
    assert_refused("slice", tensor(&[2, 3]).slice(usize::MAX, [2]), &["[2]", "[2, 3]"]);
    assert_refused("assign", tensor(&[2, 3]).assign(Host::F32(&[0.0; 5])), &["6", "5"]);
    assert_refused("assign", tensor(&[2]).assign(Host::I32(&[0; 2])), &["F32", "I32"]);

    let mut init = Initializer::new(&device, 0);
    let config = RnnConfig { input_size: 2, hidden_size: 3, num_layers: 2, ..RnnConfig::default() };
    let rnn = Rnn::new(&mut init, "rnn", &config).unwrap();
    let parameters = init.build().unwrap();
    let forward = |x: &[usize], h0: Option<&[usize]>| {
        let mut tape = Tape::new(&parameters);
        let x = tape.input(&tensor(x));
        let h0 = h0.map(|h0| tape.input(&tensor(h0)));
        rnn.forward(&mut tape, x, h0)
    };
    assert_refused("Rnn", forward(&[4, 5, 3], None), &["[.., 2]", "[4, 5, 3]"]);
    assert_refused("Rnn", forward(&[2], None), &["2 or 3 dimensions", "[2]"]);
    assert_refused("Rnn", forward(&[4, 5, 2], Some(&[1, 5, 3])), &["[2, 5, 3]", "[1, 5, 3]"]);
    assert_refused("Rnn", forward(&[4, 2], Some(&[2, 1, 3])), &["[2, 3]", "[2, 1, 3]"]);
    assert_refused("Rnn", forward(&[0, 5, 2], None), &["at least one step"]);
    assert_refused("set", parameters.set("rnn.weight_hh_l1", Host::F32(&[0.0; 8])), &["9", "8"]);
    assert_refused("set", parameters.set("rnn.weight", Host::F32(&[0.0; 8])), &["rnn.weight"]);
}

#[test]
fn wrong_options_are_refused() {
    let device = Device::cpu();
    let init = &mut Initializer::new(&device, 0);
    assert_refused("Rnn", Rnn::new(init, "x", &RnnConfig { num_layers: 0, ..RnnConfig::default() }), &["0"]);
    assert_refused(
        "Linear",
        Linear::new(init, "x", &LinearConfig { in_features: 0, ..Default::default() }),
        &["0"],
    );
    let config = EmbeddingConfig { num_embeddings: 0, ..EmbeddingConfig::default() };
    assert_refused("Embedding", Embedding::new(init, "x", &config), &["0"]);
    let config = EmbeddingConfig { num_embeddings: 3, padding_idx: Some(3), ..EmbeddingConfig::default() };
    assert_refused("Embedding", Embedding::new(init, "x", &config), &["padding_idx 3", "0..3"]);
    let config = LayerNormConfig { normalized_shape: Shape::from([2, 0]), ..LayerNormConfig::default() };
    assert_refused("LayerNorm", LayerNorm::new(init, "x", &config), &["[2, 0]"]);

    let mut init = Initializer::new(&device, 0);
    init.uniform("p", [1], 1.0);
    let parameters = init.build().unwrap();
    let initialize = |name: &str, init: Init| parameters.initialize(name, &init, 0);
    assert_refused("q", initialize("q", Init::Constant(1.0)), &["'q'"]);
    assert_refused("p", initialize("p", Init::XavierNormal { gain: 1.0 }), &["xavier_normal", "[1]"]);
    assert_refused("p", initialize("p", Init::Orthogonal { gain: 1.0 }), &["orthogonal", "[1]"]);
    for config in [
        AdamConfig { lr: f64::NAN, ..AdamConfig::default() },
        AdamConfig { betas: [1.0, 0.999], ..AdamConfig::default() },
        AdamConfig { eps: -1.0, ..AdamConfig::default() },
        AdamConfig { weight_decay: -1.0, ..AdamConfig::default() },
    ] {
        refused(&format!("{config:?}"), Adam::new(&parameters, config));
    }
    for config in [
        SgdConfig { lr: -1.0, ..SgdConfig::default() },
        SgdConfig { momentum: f64::INFINITY, ..SgdConfig::default() },
        SgdConfig { nesterov: true, ..SgdConfig::default() },
    ] {
        refused(&format!("{config:?}"), Sgd::new(&parameters, config));
    }
    let adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
    for max_norm in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refused(&format!("max_norm {max_norm}"), adam.clip_grad_norm(max_norm));
    }

    let mut tape = Tape::without_parameters(&device);
    let logits = tape.input(&Tensor::from_f32(&device, [2, 3], &[0.0; 6]).unwrap());
    let weight = Some(ClassWeights::new(&device, &[1.0; 4]).unwrap());
    let mut loss = |labels: [i32; 2], options: CrossEntropyLoss| {
        let labels = Indices::new(&device, [2], &labels).unwrap();
        tape.cross_entropy(logits, &labels, &options)
    };
    let default = CrossEntropyLoss::default;
    assert_refused("label 3", loss([0, 3], default()), &["index 3 at position 1", "0..3"]);
    assert_refused("label -1", loss([-1, 0], default()), &["index -1 at position 0", "0..3"]);
    assert_refused(
        "smoothing",
        loss([0, 1], CrossEntropyLoss { label_smoothing: 1.5, ..default() }),
        &["1.5"],
    );
    assert_refused("weights", loss([0, 1], CrossEntropyLoss { weight, ..default() }), &["3 weights", "4"]);
    assert!(loss([0, -100], default()).is_ok(), "the label to be ignored is no mistake");
}

#[test]
fn tokens_outside_the_table_are_refused() {
    let device = Device::cpu();
    let mut tape = Tape::without_parameters(&device);
    let table = tape.input(&Tensor::from_f32(&device, [3, 2], &[0.0; 6]).unwrap());
    let tokens = |token| Indices::new(&device, [2], &[0, token]).unwrap();
    for token in [3, -1, i32::MAX, i32::MIN] {
        let fragments = [&format!("index {token} at position 1"), "0..3"];
        assert_refused("embedding", tape.embedding(&tokens(token), table, None), &fragments);
        assert_refused("one_hot", tokens(token).one_hot(3), &fragments);
    }
}

/// Whatever takes two tensors refuses those of two devices, of one kind or of two.
#[test]
fn tensors_of_two_devices_are_refused() {
    for (here, there) in
        [(Device::cpu(), Device::cpu()), (Device::cpu(), gpu().clone()), (gpu().clone(), Device::cpu())]
    {
        let tensor =
            |device: &Device, shape: &[usize]| Tensor::uniform(device, shape, [-1.0, 1.0], 0, 0).unwrap();
        let calls: [(&str, Call); 6] = [
            ("matmul", |t, v| t.matmul(v[0], v[1])),
            ("linear", |t, v| t.linear(v[0], v[1], None)),
            ("bias_add", |t, v| {
                let bias = t.reshape(v[1], [4])?;
                t.bias_add(v[0], bias)
            }),
            ("add", |t, v| t.add(v[0], v[1])),
            ("mul", |t, v| t.mul(v[0], v[1])),
            ("stack", |t, v| t.stack(v, 0)),
        ];
        for (name, call) in calls {
            let shape: &[usize] = if name == "bias_add" { &[1, 4] } else { &[2, 2] };
            let mut tape = Tape::without_parameters(&here);
            let inputs = [tape.input(&tensor(&here, shape)), tape.input(&tensor(&there, shape))];
            let message = refused(name, call(&mut tape, &inputs));
            assert!(message.contains(&format!("{there:?}")), "{name}: {message}");
        }
        let mut tape = Tape::without_parameters(&here);
        let logits = tape.input(&tensor(&here, &[2, 2]));
        let labels = |device: &Device| Indices::new(device, [2], &[0, 1]).unwrap();
        let weight = |device: &Device| Some(ClassWeights::new(device, &[1.0, 2.0]).unwrap());
        let options = |device: &Device| CrossEntropyLoss { weight: weight(device), ..Default::default() };
        assert!(tape.cross_entropy(logits, &labels(&here), &options(&here)).is_ok());
        refused("labels elsewhere", tape.cross_entropy(logits, &labels(&there), &options(&here)));
        refused("weights elsewhere", tape.cross_entropy(logits, &labels(&here), &options(&there)));
        refused("tokens elsewhere", tape.embedding(&labels(&there), logits, None));
        let cotangent = tensor(&there, &[2, 2]);
        let y = tape.tanh(logits).unwrap();
        refused("a cotangent elsewhere", tape.backward_from(y, &cotangent));
        let model = model(&there);
        let mut tape = Tape::new(&model.0);
        let x = tape.input(&tensor(&here, &[2, 2]));
        refused("a model elsewhere", model.1.forward(&mut tape, x));
    }
}

/// Another model's parameters may have the same shapes: a layer would silently compute with them.
#[test]
fn a_layer_of_another_model_is_refused() {
    let device = Device::cpu();
    let ((own, linear), (other, _)) = (model(&device), model(&device));
    let id = own.id("linear.weight").unwrap();
    assert_refused("value", other.value(id), &["another model"]);
    assert_refused("gradient", other.gradient(id), &["another model"]);
    for (mut tape, fragment) in
        [(Tape::new(&other), "another model"), (Tape::without_parameters(&device), "without parameters")]
    {
        let x = tape.input(&Tensor::uniform(&device, [2, 2], [-1.0, 1.0], 0, 0).unwrap());
        assert_refused("forward", linear.forward(&mut tape, x), &[fragment]);
    }
}

fn model(device: &Device) -> (Parameters, Linear) {
    let mut init = Initializer::new(device, 0);
    let config = LinearConfig { in_features: 2, out_features: 2, bias: true };
    let linear = Linear::new(&mut init, "linear", &config).unwrap();
    (init.build().unwrap(), linear)
}

/// The contract of a launch, which the CPU keeps as strictly as a GPU has to.
#[test]
fn launches_that_break_the_contract_are_refused() {
    for (device, other) in [(Device::cpu(), Device::cpu()), (gpu().clone(), Device::cpu())] {
        let buffer = |dtype, len| device.allocate(dtype, len).unwrap();
        let [a, b, y] = std::array::from_fn(|_| buffer(Dtype::F32, 128));
        let integers = buffer(Dtype::I32, 128);
        let foreign = other.allocate(Dtype::F32, 128).unwrap();
        let plan = Plan::elements(&BINARY, 64);
        let params = Binary::new(ADD, 64, &flat(64));
        let arg = |buffer, offset, access| Arg::new(Buffer::view(buffer, offset, 64), access);
        let (read, write) = (|b, at| arg(b, at, Access::Read), |b, at| arg(b, at, Access::Write));
        let launch = |args: &[Arg<'_>]| device.launch(&plan, &params, args);

        assert!(launch(&[read(&a, 0), read(&a, 64), write(&y, 64)]).is_ok(), "reading twice is no breach");
        let breaches: [(&str, Result<()>, &[&str]); 9] = [
            ("an argument too few", launch(&[read(&a, 0), write(&y, 0)]), &["3", "2"]),
            ("wrong access", launch(&[read(&a, 0), read(&b, 0), read(&y, 0)]), &["y", "Write", "Read"]),
            ("wrong type", launch(&[read(&a, 0), read(&integers, 0), write(&y, 0)]), &["b", "F32", "I32"]),
            ("misaligned", launch(&[read(&a, 1), read(&b, 0), write(&y, 0)]), &["a", "element 1", "64"]),
            ("aliased", launch(&[read(&a, 0), read(&b, 0), write(&a, 0)]), &["y", "twice"]),
            ("aliased, disjoint", launch(&[read(&a, 0), read(&b, 0), write(&b, 64)]), &["y", "twice"]),
            ("elsewhere", launch(&[read(&a, 0), read(&foreign, 0), write(&y, 0)]), &["b", "cpu"]),
            (
                "parameters of another kernel",
                device.launch(
                    &plan,
                    &Fill { count: 64, value: 0.0 },
                    &[read(&a, 0), read(&b, 0), write(&y, 0)],
                ),
                &["80 bytes", "8"],
            ),
            (
                "arguments of another kernel",
                device.launch(&Plan::elements(&FILL, 64), &params, &[read(&a, 0)]),
                &[],
            ),
        ];
        for (what, result, fragments) in breaches {
            assert_refused(&format!("{what} on {device:?}"), result, fragments);
        }
        refused("upload elsewhere", device.upload(foreign.view(0, 64), Host::F32(&[0.0; 64])));
        refused("read_back elsewhere", device.read_back(foreign.view(0, 64)));
        assert!(launch(&[read(&a, 0), read(&b, 0), write(&y, 0)]).is_ok(), "a refusal leaves no trace");
    }
}

/// No memory is taken for sizes that no device holds, nor does a product of them wrap around.
#[test]
fn sizes_without_bounds_are_refused() {
    let device = Device::cpu();
    for size in [1 << 40, 1 << 62, usize::MAX] {
        let mut init = Initializer::new(&device, 0);
        let config = LstmConfig { input_size: size, hidden_size: size, num_layers: 2, ..Default::default() };
        Lstm::new(&mut init, "rnn", &config).unwrap();
        let embedding =
            EmbeddingConfig { num_embeddings: size, embedding_dim: 8, padding_idx: Some(size - 1) };
        Embedding::new(&mut init, "embedding", &embedding).unwrap();
        assert_refused("build", init.build(), &["more than 2^32 values"]);
    }
    let layers = GruConfig { input_size: 1, hidden_size: 1, num_layers: 1_000_000_000, ..Default::default() };
    let refused = Gru::new(&mut Initializer::new(&device, 0), "rnn", &layers);
    assert_refused("layers", refused, &["num_layers must be at most 65536, got 1000000000"]);
}
