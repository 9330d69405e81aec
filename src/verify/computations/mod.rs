//! The table of computations whose gradients are checked: every differentiable operation, and layers made of them.

mod losses;
mod recurrent;

use std::sync::Arc;

use super::gradients::Computation;
use crate::error::Result;
use crate::kernel::Dtype;
use crate::nn::{
    Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, Rnn, RnnConfig,
};
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;
use crate::tape::{Tape, Var};

pub use recurrent::{Layer, network};

/// Every operation, with each of its options, and networks of each kind.
pub fn computations() -> Vec<Computation> {
    let mut table = operations();
    table.extend(elementwise());
    table.extend(along_dimensions());
    table.extend(moves());
    table.extend(losses::losses());
    table.extend(recurrent::layers());
    table.extend(networks());
    table
}

fn operations() -> Vec<Computation> {
    vec![
        Computation::new("matmul", &[("a", &[3, 4]), ("b", &[4, 2])], |tape, v| tape.matmul(v[0], v[1])),
        Computation::new("bias_add", &[("x", &[2, 3, 4]), ("bias", &[4])], |tape, v| {
            tape.bias_add(v[0], v[1])
        }),
        Computation::new("linear", &[("x", &[2, 3, 4]), ("weight", &[5, 4]), ("bias", &[5])], |tape, v| {
            tape.linear(v[0], v[1], Some(v[2]))
        }),
        Computation::new("linear without bias", &[("x", &[3, 4]), ("weight", &[5, 4])], |tape, v| {
            tape.linear(v[0], v[1], None)
        }),
        Computation::new("sigmoid", &[("x", &[3, 5])], |tape, v| tape.sigmoid(v[0])),
        Computation::new("tanh", &[("x", &[3, 5])], |tape, v| tape.tanh(v[0])),
        Computation::new("relu", &[("x", &[3, 5])], |tape, v| tape.relu(v[0])),
        // Nothing but tanh where x is in 32 bits.
        Computation::new("cast", &[("x", &[3, 5])], |tape, v| {
            let dtype = tape.value(v[0])?.dtype();
            let wide = tape.cast(v[0], Dtype::F32)?;
            let y = tape.tanh(wide)?;
            tape.cast(y, dtype)
        }),
        Computation::new("scale", &[("x", &[3, 5])], |tape, v| tape.scale(v[0], -1.5)),
        Computation::new("sum", &[("x", &[3, 5])], |tape, v| tape.sum(v[0])),
        Computation::new("reshape", &[("x", &[2, 6])], |tape, v| tape.reshape(v[0], [3, 4])),
        Computation::new("select, copied", &[("x", &[3, 4, 5])], |tape, v| tape.select(v[0], 0, 1)),
        Computation::new("select, inner", &[("x", &[3, 4, 5])], |tape, v| tape.select(v[0], 1, 2)),
        Computation::new("max of all", &[("x", &[3, 4])], |tape, v| tape.max(v[0])),
        Computation::new("stack, inner", &[("a", &[2, 3]), ("b", &[2, 3])], |tape, v| tape.stack(v, 1)),
        Computation::new("select, shared", &[("x", &[2, 64])], |tape, v| tape.select(v[0], 0, 1)),
        Computation::new("stack", &[("a", &[2, 3]), ("b", &[2, 3])], |tape, v| {
            tape.stack(&[v[0], v[1], v[0]], 0)
        }),
        Computation::new("embedding", &[("weight", &[5, 3])], |tape, v| {
            // Token 3 is not there, token 1 is there three times.
            let tokens = Indices::new(tape.device(), [2, 3], &[1, 4, 1, 0, 1, 2])?;
            tape.embedding(&tokens, v[0], None)
        }),
        Computation::new("a value used three times", &[("x", &[3, 4])], |tape, v| {
            let y = tape.tanh(v[0])?;
            let y = tape.add(v[0], y)?;
            tape.mul(v[0], y)
        }),
    ]
}

/// Operations element by element, on equal shapes and on such as are repeated.
fn elementwise() -> Vec<Computation> {
    let mut table = vec![
        Computation::new("exp", &[("x", &[3, 5])], |tape, v| tape.exp(v[0])),
        Computation::new("log", &[("x", &[3, 5])], |tape, v| {
            let x = tape.mul(v[0], v[0])?;
            tape.log(x)
        }),
        Computation::new("sqrt", &[("x", &[3, 5])], |tape, v| {
            let x = tape.exp(v[0])?;
            tape.sqrt(x)
        }),
    ];
    let shapes: [[&[usize]; 2]; 5] = [
        [&[3, 4], &[3, 4]],
        [&[2, 3, 4], &[4]],
        [&[3, 1], &[2, 3, 4]],
        [&[2, 1, 3, 1], &[4, 1, 5]],
        [&[1], &[2, 3]],
    ];
    type Operation = fn(&mut Tape, Var, Var) -> Result<Var>;
    let operations: [(&str, Operation); 4] =
        [("add", Tape::add), ("sub", Tape::sub), ("mul", Tape::mul), ("div", Tape::div)];
    for (name, operation) in operations {
        for [a, b] in shapes {
            let name = format!("{name} of {a:?} and {b:?}");
            table.push(Computation::new(name, &[("a", a), ("b", b)], move |tape, v| {
                operation(tape, v[0], v[1])
            }));
        }
    }
    table
}

/// Operations along a dimension: before, between and behind others.
fn along_dimensions() -> Vec<Computation> {
    let mut table = vec![
        Computation::new("mean", &[("x", &[3, 5])], |tape, v| tape.mean(v[0])),
        // Index 2 is not chosen, index 1 is chosen three times.
        Computation::new("gather, dimension 0", &[("x", &[4, 2])], |tape, v| {
            let index = Indices::new(tape.device(), [3, 2], &[1, 0, 1, 3, 1, 0])?;
            tape.gather(v[0], 0, &index)
        }),
        Computation::new("gather, dimension 1", &[("x", &[2, 3])], |tape, v| {
            let index = Indices::new(tape.device(), [2, 4], &[0, 2, 2, 0, 1, 1, 0, 1])?;
            tape.gather(v[0], 1, &index)
        }),
    ];
    for (shape, options) in [([3, 4], [true, true]), ([5, 1], [true, false]), ([1, 3], [false, false])] {
        let name = format!("layer_norm of {shape:?}, weight and bias {options:?}");
        let inputs: [(_, &[usize]); 3] =
            [("x", &[2, shape[0], shape[1]]), ("weight", &shape), ("bias", &shape)];
        table.push(Computation::new(name, &inputs, move |tape, v| {
            let [weight, bias] = [0, 1].map(|k| options[k].then(|| v[k + 1]));
            tape.layer_norm(v[0], shape, weight, bias, 1e-5)
        }));
    }
    for dim in 0..3 {
        let of = |name: &str| format!("{name}, dimension {dim}");
        let x: [(_, &[usize]); 1] = [("x", &[2, 3, 4])];
        table.extend([
            Computation::new(of("sum_dim"), &x, move |tape, v| tape.sum_dim(v[0], dim, false)),
            Computation::new(of("mean_dim"), &x, move |tape, v| tape.mean_dim(v[0], dim, true)),
            Computation::new(of("max_dim"), &x, move |tape, v| Ok(tape.max_dim(v[0], dim, dim == 1)?.0)),
            Computation::new(of("softmax"), &x, move |tape, v| tape.softmax(v[0], dim)),
            Computation::new(of("log_softmax"), &x, move |tape, v| tape.log_softmax(v[0], dim)),
        ]);
    }
    table
}

/// Operations that move elements.
fn moves() -> Vec<Computation> {
    vec![
        Computation::new("transpose, first two", &[("x", &[3, 4, 2])], |tape, v| tape.transpose(v[0], 0, 1)),
        Computation::new("transpose, first and last", &[("x", &[3, 4, 2])], |tape, v| {
            tape.transpose(v[0], 2, 0)
        }),
        Computation::new("transpose with a dimension of 1", &[("x", &[1, 4, 2])], |tape, v| {
            tape.transpose(v[0], 0, 1)
        }),
        Computation::new("permute", &[("x", &[2, 3, 4, 2])], |tape, v| tape.permute(v[0], &[2, 0, 3, 1])),
        Computation::new("narrow, dimension 0", &[("x", &[4, 3])], |tape, v| tape.narrow(v[0], 0, 1, 2)),
        Computation::new("narrow, dimension 1", &[("x", &[2, 5, 3])], |tape, v| tape.narrow(v[0], 1, 2, 3)),
        Computation::new("concat, dimension 0", &[("a", &[2, 3]), ("b", &[1, 3])], |tape, v| {
            tape.concat(&[v[0], v[1], v[0]], 0)
        }),
        Computation::new("concat, dimension 1", &[("a", &[2, 3]), ("b", &[2, 1])], |tape, v| {
            tape.concat(&[v[0], v[1]], 1)
        }),
    ]
}

fn networks() -> Vec<Computation> {
    vec![weights_used_twice(), normalized_layer(), embedding_of_nothing(), language_model()]
}

/// A parameter's gradient is added up where it is used more than once.
fn weights_used_twice() -> Computation {
    Computation::of_model("weights used twice", &[("x", &[2, 3])], |init| {
        let config = LinearConfig { in_features: 3, out_features: 3, bias: true };
        let linear = Linear::new(init, "linear", &config)?;
        Ok(Arc::new(move |tape, v| {
            let y = linear.forward(tape, v[0])?;
            let y = tape.tanh(y)?;
            linear.forward(tape, y)
        }))
    })
}

/// [`LayerNorm`] between two layers.
fn normalized_layer() -> Computation {
    Computation::of_model("layer norm", &[("x", &[2, 3])], |init| {
        let config = LinearConfig { in_features: 3, out_features: 4, bias: true };
        let linear = Linear::new(init, "linear", &config)?;
        let config = LayerNormConfig { normalized_shape: [4].into(), ..LayerNormConfig::default() };
        let norm = LayerNorm::new(init, "norm", &config)?;
        Ok(Arc::new(move |tape, v| {
            let y = linear.forward(tape, v[0])?;
            let y = norm.forward(tape, y)?;
            tape.tanh(y)
        }))
    })
}

/// Looking up nothing adds nothing to the gradient of the vectors that were looked up elsewhere.
fn embedding_of_nothing() -> Computation {
    Computation::of_model("embedding of nothing", &[], |init| {
        let config = EmbeddingConfig { num_embeddings: 3, embedding_dim: 2, padding_idx: None };
        let embedding = Embedding::new(init, "embedding", &config)?;
        Ok(Arc::new(move |tape, _| {
            let (none, some) =
                (Indices::new(tape.device(), [0], &[])?, Indices::new(tape.device(), [2], &[2, 0])?);
            let (none, some) = (embedding.forward(tape, &none)?, embedding.forward(tape, &some)?);
            let some = tape.tanh(some)?;
            let (none, some) = (tape.sum(none)?, tape.sum(some)?);
            tape.add(none, some)
        }))
    })
}

/// What the command trains: tokens, vectors, states, logits, loss.
fn language_model() -> Computation {
    Computation::of_model("language model", &[("h0", &[2, 3, 4])], |init| {
        let config = EmbeddingConfig { num_embeddings: 5, embedding_dim: 3, padding_idx: None };
        let embedding = Embedding::new(init, "embedding", &config)?;
        let config = RnnConfig { input_size: 3, hidden_size: 4, num_layers: 2, ..RnnConfig::default() };
        let rnn = Rnn::new(init, "rnn", &config)?;
        let fc = Linear::new(init, "fc", &LinearConfig { in_features: 4, out_features: 5, bias: true })?;
        Ok(Arc::new(move |tape, v| {
            let device = tape.device().clone();
            let tokens = Indices::new(&device, [4, 3], &[0, 1, 2, 3, 4, 0, 2, 2, 2, 1, 0, 4])?;
            let labels = Indices::new(&device, [4, 3], &[1, 2, 3, 4, 0, 1, 3, 3, 3, 2, 1, 0])?;
            let x = embedding.forward(tape, &tokens)?;
            let states = rnn.forward(tape, x, Some(v[0]))?;
            let logits = fc.forward(tape, states.output)?;
            tape.cross_entropy(logits, &labels, &CrossEntropyLoss::default())
        }))
    })
}
