//! The table of computations whose gradients are checked: every differentiable operation, and layers made of them.

mod losses;
mod recurrent;

use std::sync::Arc;

use super::gradients::Computation;
use crate::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, Rnn, RnnConfig};
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;

pub use recurrent::{Layer, network};

/// Every operation, with each of its options, and networks of each kind.
pub fn computations() -> Vec<Computation> {
    let mut table = operations();
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
        Computation::new("add", &[("a", &[3, 4]), ("b", &[3, 4])], |tape, v| tape.add(v[0], v[1])),
        Computation::new("mul", &[("a", &[3, 4]), ("b", &[3, 4])], |tape, v| tape.mul(v[0], v[1])),
        Computation::new("scale", &[("x", &[3, 5])], |tape, v| tape.scale(v[0], -1.5)),
        Computation::new("sum", &[("x", &[3, 5])], |tape, v| tape.sum(v[0])),
        Computation::new("reshape", &[("x", &[2, 6])], |tape, v| tape.reshape(v[0], [3, 4])),
        Computation::new("swap_axes", &[("x", &[3, 4, 2])], |tape, v| tape.swap_axes(v[0])),
        Computation::new("swap_axes with an axis of 1", &[("x", &[1, 4, 2])], |tape, v| tape.swap_axes(v[0])),
        Computation::new("select, copied", &[("x", &[3, 4, 5])], |tape, v| tape.select(v[0], 1)),
        Computation::new("select, shared", &[("x", &[2, 64])], |tape, v| tape.select(v[0], 1)),
        Computation::new("stack", &[("a", &[2, 3]), ("b", &[2, 3])], |tape, v| {
            tape.stack(&[v[0], v[1], v[0]])
        }),
        Computation::new("embedding", &[("weight", &[5, 3])], |tape, v| {
            // Token 3 is not there, token 1 is there three times.
            let tokens = Indices::new(tape.device(), [2, 3], &[1, 4, 1, 0, 1, 2])?;
            tape.embedding(&tokens, v[0])
        }),
        Computation::new("a value used three times", &[("x", &[3, 4])], |tape, v| {
            let y = tape.tanh(v[0])?;
            let y = tape.add(v[0], y)?;
            tape.mul(v[0], y)
        }),
    ]
}

fn networks() -> Vec<Computation> {
    vec![weights_used_twice(), embedding_of_nothing(), language_model()]
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

/// Looking up nothing adds nothing to the gradient of the vectors that were looked up elsewhere.
fn embedding_of_nothing() -> Computation {
    Computation::of_model("embedding of nothing", &[], |init| {
        let config = EmbeddingConfig { num_embeddings: 3, embedding_dim: 2 };
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
        let config = EmbeddingConfig { num_embeddings: 5, embedding_dim: 3 };
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
