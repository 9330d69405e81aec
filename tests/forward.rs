//! What operations and layers compute, compared with plain loops over f64, on the reference device. The other devices are compared with that one elsewhere.

use bptt::device::Device;
use bptt::error::Result;
use bptt::nn::{Embedding, EmbeddingConfig, Rnn, RnnConfig};
use bptt::ops::indices::Indices;
use bptt::ops::recurrent::Nonlinearity;
use bptt::parameters::{Initializer, Parameters};
use bptt::tape::{Tape, Var};
use bptt::tensor::{Shape, Tensor};

fn assert_close(what: &str, got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs();
        assert!(error <= 1e-12, "{what}: element {i} is {got}, expected {expected}");
    }
}

/// Σ_k a[i, k] · b[k, j] for a of `k` columns and b of `n`.
fn product(a: &[f64], b: &[f64], k: usize, n: usize) -> Vec<f64> {
    let element = |i: usize, j: usize| (0..k).map(|k2| a[i * k + k2] * b[k2 * n + j]).sum();
    (0..a.len() / k * n).map(|at| element(at / n, at % n)).collect()
}

fn transposed(a: &[f64], columns: usize) -> Vec<f64> {
    let rows = a.len() / columns;
    (0..a.len()).map(|at| a[at % rows * columns + at / rows]).collect()
}

fn embedding(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    let tokens = Indices::new(tape.device(), [2, 2], &[2, 0, 2, 1])?;
    tape.embedding(&tokens, v[0], None)
}

fn gather(tape: &mut Tape, v: &[Var]) -> Result<Var> {
    let index = Indices::new(tape.device(), [2, 2], &[2, 0, 1, 1])?;
    tape.gather(v[0], 1, &index)
}

/// Of rows of `columns`.
fn softmax(x: &[f64], columns: usize) -> Vec<f64> {
    let rows = x.chunks(columns).flat_map(|row| {
        let sum: f64 = row.iter().map(|x| x.exp()).sum();
        row.iter().map(move |x| x.exp() / sum)
    });
    rows.collect()
}

type Call = fn(&mut Tape, &[Var]) -> Result<Var>;
/// A name, what is called, the shapes of its inputs, the shape of its result, and its elements.
type Operation =
    (&'static str, Call, &'static [&'static [usize]], &'static [usize], fn(&[Vec<f64>]) -> Vec<f64>);

#[test]
fn operations_compute_their_formulas() {
    let operations: &[Operation] = &[
        (
            "matmul",
            |t, v| t.matmul(v[0], v[1]),
            &[&[2, 3], &[3, 4]],
            &[2, 4],
            |v| product(&v[0], &v[1], 3, 4),
        ),
        (
            "linear",
            |t, v| t.linear(v[0], v[1], Some(v[2])),
            &[&[2, 1, 3], &[4, 3], &[4]],
            &[2, 1, 4],
            |v| {
                let y = product(&v[0], &transposed(&v[1], 3), 3, 4);
                y.iter().zip(v[2].iter().cycle()).map(|(y, b)| y + b).collect()
            },
        ),
        (
            "bias_add",
            |t, v| t.bias_add(v[0], v[1]),
            &[&[2, 3], &[3]],
            &[2, 3],
            |v| v[0].iter().zip(v[1].iter().cycle()).map(|(x, b)| x + b).collect(),
        ),
        (
            "sigmoid",
            |t, v| t.sigmoid(v[0]),
            &[&[7]],
            &[7],
            |v| v[0].iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
        ),
        ("tanh", |t, v| t.tanh(v[0]), &[&[7]], &[7], |v| v[0].iter().map(|x| x.tanh()).collect()),
        ("relu", |t, v| t.relu(v[0]), &[&[7]], &[7], |v| v[0].iter().map(|x| x.max(0.0)).collect()),
        (
            "add",
            |t, v| t.add(v[0], v[1]),
            &[&[2, 3], &[2, 3]],
            &[2, 3],
            |v| v[0].iter().zip(&v[1]).map(|(a, b)| a + b).collect(),
        ),
        (
            "mul",
            |t, v| t.mul(v[0], v[1]),
            &[&[2, 3], &[2, 3]],
            &[2, 3],
            |v| v[0].iter().zip(&v[1]).map(|(a, b)| a * b).collect(),
        ),
        (
            "add to every row",
            |t, v| t.add(v[0], v[1]),
            &[&[2, 3], &[3]],
            &[2, 3],
            |v| v[0].iter().zip(v[1].iter().cycle()).map(|(a, b)| a + b).collect(),
        ),
        (
            "sub",
            |t, v| t.sub(v[0], v[1]),
            &[&[3], &[3]],
            &[3],
            |v| (0..3).map(|i| v[0][i] - v[1][i]).collect(),
        ),
        (
            "div, both repeated",
            |t, v| t.div(v[0], v[1]),
            &[&[2, 1], &[1, 3]],
            &[2, 3],
            |v| (0..6).map(|i| v[0][i / 3] / v[1][i % 3]).collect(),
        ),
        (
            "mul with a number",
            |t, v| t.mul(v[0], v[1]),
            &[&[], &[2, 3]],
            &[2, 3],
            |v| v[1].iter().map(|b| v[0][0] * b).collect(),
        ),
        ("add of nothing", |t, v| t.add(v[0], v[1]), &[&[0, 3], &[1]], &[0, 3], |_| vec![]),
        ("exp", |t, v| t.exp(v[0]), &[&[7]], &[7], |v| v[0].iter().map(|x| x.exp()).collect()),
        (
            "log and sqrt",
            |t, v| {
                let square = t.mul(v[0], v[0])?;
                let (log, root) = (t.log(square)?, t.sqrt(square)?);
                t.concat(&[log, root], 0)
            },
            &[&[3]],
            &[6],
            |v| {
                [0, 1, 2, 3, 4, 5]
                    .map(|i| if i < 3 { 2.0 * v[0][i].abs().ln() } else { v[0][i - 3].abs() })
                    .to_vec()
            },
        ),
        ("mean", |t, v| t.mean(v[0]), &[&[2, 4]], &[1], |v| vec![v[0].iter().sum::<f64>() / 8.0]),
        (
            "sum_dim of rows",
            |t, v| t.sum_dim(v[0], 1, false),
            &[&[2, 3]],
            &[2],
            |v| v[0].chunks(3).map(|row| row.iter().sum()).collect(),
        ),
        (
            "mean_dim of columns",
            |t, v| t.mean_dim(v[0], 0, true),
            &[&[2, 3]],
            &[1, 3],
            |v| (0..3).map(|c| (v[0][c] + v[0][3 + c]) / 2.0).collect(),
        ),
        (
            "sum_dim between others",
            |t, v| t.sum_dim(v[0], 1, true),
            &[&[2, 3, 2]],
            &[2, 1, 2],
            |v| [0, 1, 6, 7].map(|i| v[0][i] + v[0][i + 2] + v[0][i + 4]).to_vec(),
        ),
        ("sum_dim of nothing", |t, v| t.sum_dim(v[0], 1, false), &[&[2, 0]], &[2], |_| vec![0.0; 2]),
        (
            "max_dim",
            |t, v| Ok(t.max_dim(v[0], 0, false)?.0),
            &[&[2, 3]],
            &[3],
            |v| (0..3).map(|c| v[0][c].max(v[0][3 + c])).collect(),
        ),
        ("softmax", |t, v| t.softmax(v[0], 1), &[&[2, 3]], &[2, 3], |v| softmax(&v[0], 3)),
        (
            "softmax of columns",
            |t, v| t.softmax(v[0], 0),
            &[&[3, 2]],
            &[3, 2],
            |v| transposed(&softmax(&transposed(&v[0], 2), 3), 3),
        ),
        (
            "log_softmax",
            |t, v| t.log_softmax(v[0], 1),
            &[&[2, 3]],
            &[2, 3],
            |v| softmax(&v[0], 3).iter().map(|p| p.ln()).collect(),
        ),
        ("gather", gather, &[&[2, 3]], &[2, 2], |v| vec![v[0][2], v[0][0], v[0][4], v[0][4]]),
        (
            "layer_norm",
            |t, v| t.layer_norm(v[0], [4], Some(v[1]), Some(v[2]), 0.25),
            &[&[2, 4], &[4], &[4]],
            &[2, 4],
            |v| {
                let normal = v[0].chunks(4).flat_map(|row| {
                    let mean = row.iter().sum::<f64>() / 4.0;
                    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4.0;
                    row.iter().map(move |x| (x - mean) / (variance + 0.25).sqrt())
                });
                normal.enumerate().map(|(i, h)| h * v[1][i % 4] + v[2][i % 4]).collect()
            },
        ),
        ("scale", |t, v| t.scale(v[0], -1.5), &[&[7]], &[7], |v| v[0].iter().map(|x| -1.5 * x).collect()),
        ("sum", |t, v| t.sum(v[0]), &[&[2, 3]], &[1], |v| vec![v[0].iter().sum()]),
        ("sum in two passes", |t, v| t.sum(v[0]), &[&[20_000]], &[1], |v| vec![v[0].iter().sum()]),
        ("reshape", |t, v| t.reshape(v[0], [3, 2]), &[&[2, 3]], &[3, 2], |v| v[0].clone()),
        ("transpose", |t, v| t.transpose(v[0], 0, 1), &[&[2, 3]], &[3, 2], |v| transposed(&v[0], 3)),
        ("transpose", |t, v| t.transpose(v[0], 1, 0), &[&[3, 2]], &[2, 3], |v| transposed(&v[0], 2)),
        ("transpose", |t, v| t.transpose(v[0], 0, 1), &[&[1, 3]], &[3, 1], |v| v[0].clone()),
        ("transpose", |t, v| t.transpose(v[0], 1, 1), &[&[2, 3]], &[2, 3], |v| v[0].clone()),
        (
            "transpose of vectors",
            |t, v| t.transpose(v[0], 0, 1),
            &[&[2, 2, 2]],
            &[2, 2, 2],
            |v| [0, 1, 4, 5, 2, 3, 6, 7].map(|at| v[0][at]).to_vec(),
        ),
        (
            "transpose of the outermost and the innermost",
            |t, v| t.transpose(v[0], 0, 2),
            &[&[2, 2, 3]],
            &[3, 2, 2],
            |v| [0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11].map(|at| v[0][at]).to_vec(),
        ),
        ("permute", |t, v| t.permute(v[0], &[2, 0, 1]), &[&[2, 3, 4]], &[4, 2, 3], |v| transposed(&v[0], 4)),
        ("narrow", |t, v| t.narrow(v[0], 0, 1, 2), &[&[4, 2]], &[2, 2], |v| v[0][2..6].to_vec()),
        (
            "narrow of rows",
            |t, v| t.narrow(v[0], 1, 1, 2),
            &[&[2, 4]],
            &[2, 2],
            |v| [1, 2, 5, 6].map(|at| v[0][at]).to_vec(),
        ),
        ("narrow to nothing", |t, v| t.narrow(v[0], 1, 4, 0), &[&[2, 4]], &[2, 0], |_| vec![]),
        ("concat", |t, v| t.concat(v, 0), &[&[1, 2], &[2, 2]], &[3, 2], |v| v.concat()),
        ("concat with nothing", |t, v| t.concat(v, 0), &[&[0], &[3]], &[3], |v| v[1].clone()),
        (
            "concat of rows",
            |t, v| t.concat(v, 1),
            &[&[2, 1], &[2, 2]],
            &[2, 3],
            |v| vec![v[0][0], v[1][0], v[1][1], v[0][1], v[1][2], v[1][3]],
        ),
        ("select", |t, v| t.select(v[0], 0, 1), &[&[3, 2, 2]], &[2, 2], |v| v[0][4..8].to_vec()),
        (
            "max",
            |t, v| t.max(v[0]),
            &[&[2, 3]],
            &[1],
            |v| vec![v[0].iter().copied().fold(f64::MIN, f64::max)],
        ),
        ("select, inner", |t, v| t.select(v[0], 1, 1), &[&[2, 3]], &[2], |v| vec![v[0][1], v[0][4]]),
        (
            "stack, inner",
            |t, v| t.stack(&[v[0], v[1]], 1),
            &[&[2, 2], &[2, 2]],
            &[2, 2, 2],
            |v| [&v[0][..2], &v[1][..2], &v[0][2..], &v[1][2..]].concat(),
        ),
        (
            "stack, innermost",
            |t, v| t.stack(&[v[0], v[1]], 1),
            &[&[2], &[2]],
            &[2, 2],
            |v| vec![v[0][0], v[1][0], v[0][1], v[1][1]],
        ),
        ("select, aligned", |t, v| t.select(v[0], 0, 2), &[&[3, 64]], &[64], |v| v[0][128..].to_vec()),
        (
            "stack",
            |t, v| t.stack(&[v[0], v[1], v[0]], 0),
            &[&[2], &[2]],
            &[3, 2],
            |v| [&v[0][..], &v[1], &v[0]].concat(),
        ),
        ("embedding", embedding, &[&[3, 2]], &[2, 2, 2], |v| {
            [4, 5, 0, 1, 4, 5, 2, 3].map(|at| v[0][at]).to_vec()
        }),
    ];
    let device = Device::reference();
    for (name, call, shapes, result, expected) in operations {
        let mut tape = Tape::without_parameters(&device);
        let tensor =
            |(seed, shape): (u64, &&[usize])| Tensor::uniform(&device, *shape, [-2.0, 2.0], seed, 0).unwrap();
        let tensors: Vec<Tensor> = (0..).zip(shapes.iter()).map(tensor).collect();
        let inputs: Vec<Var> = tensors.iter().map(|x| tape.constant(x)).collect();
        let y = call(&mut tape, &inputs).unwrap();
        let y = tape.value(y).unwrap();
        assert_eq!(y.shape(), Shape::from(*result), "{name}");
        let values: Vec<Vec<f64>> = tensors.iter().map(|x| x.to_f64().unwrap()).collect();
        assert_close(name, &y.to_f64().unwrap(), &expected(&values));
    }
}

/// The states of every layer at every step, for one sequence x of T steps: torch.nn.RNN's formula, element by element.
fn states(config: &RnnConfig, parameters: &Parameters, x: &[f64], h0: &[f64]) -> Vec<Vec<f64>> {
    let RnnConfig { input_size, hidden_size: hidden, num_layers, nonlinearity, bias, .. } = *config;
    let value = |name: &str, k: usize| {
        let id = parameters.id(&format!("rnn.{name}_l{k}")).unwrap();
        parameters.value(id).unwrap().to_f64().unwrap()
    };
    let mut layers: Vec<Vec<f64>> = Vec::new();
    for k in 0..num_layers {
        let (w_ih, w_hh) = (value("weight_ih", k), value("weight_hh", k));
        let biases = if bias {
            [value("bias_ih", k), value("bias_hh", k)]
        } else {
            [vec![0.0; hidden], vec![0.0; hidden]]
        };
        let (input, width) = if k == 0 { (x, input_size) } else { (&layers[k - 1][..], hidden) };
        let mut h = h0[k * hidden..][..hidden].to_vec();
        let mut all = Vec::new();
        for x in input.chunks_exact(width) {
            let unit = |j: usize| {
                let from_input: f64 = (0..width).map(|i| w_ih[j * width + i] * x[i]).sum();
                let from_state: f64 = (0..hidden).map(|i| w_hh[j * hidden + i] * h[i]).sum();
                let a = from_input + biases[0][j] + from_state + biases[1][j];
                if nonlinearity == Nonlinearity::Tanh { a.tanh() } else { a.max(0.0) }
            };
            h = (0..hidden).map(unit).collect();
            all.extend(&h);
        }
        layers.push(all);
    }
    layers
}

/// What belongs to sequence b of [.., B, N].
fn of_sequence(x: &[f64], batch: usize, b: usize, n: usize) -> Vec<f64> {
    x.chunks_exact(batch * n).flat_map(|step| step[b * n..][..n].to_vec()).collect()
}

#[test]
fn rnns_compute_pytorchs_formula() {
    let device = Device::reference();
    let (time, batch, input_size, hidden_size) = (4, 3, 2, 5);
    for bits in 0..16 {
        let [relu, bias, batch_first, with_h0] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
        let nonlinearity = if relu { Nonlinearity::Relu } else { Nonlinearity::Tanh };
        let config = RnnConfig {
            input_size,
            hidden_size,
            num_layers: 1 + bits % 3,
            nonlinearity,
            bias,
            batch_first,
            ..RnnConfig::default()
        };
        let mut init = Initializer::new(&device, bits as u64);
        let rnn = Rnn::new(&mut init, "rnn", &config).unwrap();
        let parameters = init.build().unwrap();
        let x = Tensor::uniform(&device, [time, batch, input_size], [-1.0, 1.0], 1, 0).unwrap();
        let h0 =
            Tensor::uniform(&device, [config.num_layers, batch, hidden_size], [-1.0, 1.0], 2, 0).unwrap();

        let mut tape = Tape::new(&parameters);
        let mut input = tape.constant(&x);
        if batch_first {
            input = tape.transpose(input, 0, 1).unwrap();
        }
        let initial = with_h0.then(|| tape.constant(&h0));
        let result = rnn.forward(&mut tape, input, initial).unwrap();
        let h_n = result.h_n(&mut tape).unwrap();
        let mut output = result.output;
        if batch_first {
            output = tape.transpose(output, 0, 1).unwrap();
        }
        let [x, h0, output, h_n] = [&x, &h0, tape.value(output).unwrap(), tape.value(h_n).unwrap()]
            .map(|tensor| tensor.to_f64().unwrap());
        for b in 0..batch {
            let x = of_sequence(&x, batch, b, input_size);
            let h0 = of_sequence(&h0, batch, b, hidden_size);
            let h0 = if with_h0 { h0 } else { vec![0.0; h0.len()] };
            let expected = states(&config, &parameters, &x, &h0);
            let what = format!("sequence {b} of {config:?}");
            assert_close(
                &what,
                &of_sequence(&output, batch, b, hidden_size),
                &expected[config.num_layers - 1],
            );
            let last: Vec<f64> =
                expected.iter().flat_map(|layer| layer[layer.len() - hidden_size..].to_vec()).collect();
            assert_close(&what, &of_sequence(&h_n, batch, b, hidden_size), &last);

            // The same sequence by itself, without the dimension for batches.
            let mut tape = Tape::new(&parameters);
            let input = tape.constant(&Tensor::from_f64(&device, [time, input_size], &x).unwrap());
            let h0 = Tensor::from_f64(&device, [config.num_layers, hidden_size], &h0).unwrap();
            let h0 = tape.constant(&h0);
            let alone = rnn.forward(&mut tape, input, Some(h0)).unwrap();
            assert_eq!(tape.value(alone.output).unwrap().shape(), Shape::from([time, hidden_size]));
            let alone = tape.value(alone.output).unwrap().to_f64().unwrap();
            assert_close(&what, &alone, &expected[config.num_layers - 1]);
        }
    }
}

/// Of equal elements the first, as torch.max; and the gradient goes to it alone.
#[test]
fn max_dim_finds_the_first_of_the_largest() {
    let device = Device::cpu();
    let mut tape = Tape::without_parameters(&device);
    let x = tape.input(
        &Tensor::from_f32(&device, [2, 3], &[1.0, 3.0, 3.0, f32::NEG_INFINITY, -2.0, f32::NAN]).unwrap(),
    );
    let (y, index) = tape.max_dim(x, 1, false).unwrap();
    let largest = tape.value(y).unwrap().to_vec().unwrap();
    assert!(largest[0] == 3.0 && largest[1].is_nan(), "{largest:?}");
    assert_eq!(index.to_f64().unwrap(), [1.0, 2.0]);
    tape.backward_from(y, &Tensor::from_f32(&device, [2], &[5.0, 7.0]).unwrap()).unwrap();
    let gradient = tape.gradient(x).unwrap().unwrap().to_vec().unwrap();
    assert_eq!(gradient, [0.0, 5.0, 0.0, 0.0, 0.0, 7.0]);
}

#[test]
fn padding_is_zero_and_stays_so() {
    let device = Device::reference();
    let mut init = Initializer::new(&device, 0);
    let config = EmbeddingConfig { num_embeddings: 3, embedding_dim: 2, padding_idx: Some(1) };
    let embedding = Embedding::new(&mut init, "embedding", &config).unwrap();
    let parameters = init.build().unwrap();
    let weight = parameters.id("embedding.weight").unwrap();
    let values = parameters.value(weight).unwrap().to_f64().unwrap();
    assert!(values.iter().enumerate().all(|(i, x)| (*x == 0.0) == (i / 2 == 1)), "{values:?}");
    let mut tape = Tape::new(&parameters);
    let tokens = Indices::new(&device, [4], &[2, 1, 0, 2]).unwrap();
    let y = embedding.forward(&mut tape, &tokens).unwrap();
    tape.backward_from(y, &Tensor::from_f32(&device, [4, 2], &[1.0; 8]).unwrap()).unwrap();
    let gradient = parameters.gradient(weight).unwrap().to_f64().unwrap();
    assert_eq!(gradient, [1.0, 1.0, 0.0, 0.0, 2.0, 2.0]);
}
