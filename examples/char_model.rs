//! A language model of characters: an LSTM trained on a text by truncated backpropagation through time, and text sampled
//! from it.
//!
//!     cargo run --release --example char_model [TEXT FILE] [PASSES]
//!
//! `bptt train text` does the same with validation, checkpoints and a page of charts.

use std::path::Path;

use bptt::data::text::{LONGSEQ, Text, Unit, fit};
use bptt::prelude::*;
use bptt::train::Sampler;

const HIDDEN: usize = 64;

struct Model {
    embedding: Embedding,
    lstm: Lstm,
    fc: Linear,
}

impl Model {
    fn new(init: &mut Initializer, classes: usize) -> Result<Model> {
        let embedding =
            EmbeddingConfig { num_embeddings: classes, embedding_dim: 32, ..EmbeddingConfig::default() };
        let lstm = LstmConfig { input_size: 32, hidden_size: HIDDEN, ..LstmConfig::default() };
        let fc = LinearConfig { in_features: HIDDEN, out_features: classes, bias: true };
        Ok(Model {
            embedding: Embedding::new(init, "embedding", &embedding)?,
            lstm: Lstm::new(init, "lstm", &lstm)?,
            fc: Linear::new(init, "fc", &fc)?,
        })
    }

    /// The logits [T, B, C] that follow each of the tokens [T, B]. The state [h, c] is read, and then replaced by the state after
    /// the last token.
    fn forward(&self, tape: &mut Tape, tokens: &Indices, state: &mut [Tensor; 2]) -> Result<Var> {
        // The state is a constant of the tape: it carries values from one training step to the next, but no gradient flows back
        // through it. That is the truncation; in PyTorch it is `h.detach()`.
        let initial = [tape.constant(&state[0]), tape.constant(&state[1])];
        let x = self.embedding.forward(tape, tokens)?;
        let states = self.lstm.forward(tape, x, Some(initial))?;
        let (h, c) = (states.h_n(tape)?, states.c_n(tape)?);
        // Cloning a tensor shares its memory: nothing is copied, and nothing leaves the device.
        *state = [tape.value(h)?.clone(), tape.value(c)?.clone()];
        self.fc.forward(tape, states.output)
    }
}

/// The state of `batch` sequences before their first token.
fn zero_state(device: &Device, batch: usize) -> Result<[Tensor; 2]> {
    let zeros = vec![0.0; batch * HIDDEN];
    let state = || Tensor::from_f32(device, [1, batch, HIDDEN], &zeros);
    Ok([state()?, state()?])
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let text = match arguments.next() {
        Some(path) => Text::open(Path::new(&path), Unit::Characters)?,
        None => Text::from_text(LONGSEQ, Unit::Characters),
    };
    let passes: usize = arguments.next().map_or(20, |passes| passes.parse().expect("a number of passes"));
    let device = Device::auto()?;
    println!("device: {}", device.info());
    let vocabulary = text.vocabulary();

    // The text is cut into `batch` streams that are read side by side, `sequence` characters at a time. For a short text `fit`
    // makes both smaller.
    let (batch, sequence) = fit(text.len(), 32, 64).expect("a text of 20 characters or more");
    let mut streams = text.streams(0..text.len(), batch, sequence)?;
    println!(
        "{} characters, {} distinct: {} steps a pass of batch {batch} and sequence {sequence}",
        text.len(),
        vocabulary.len(),
        streams.chunks()
    );

    let mut init = Initializer::new(&device, 0);
    let model = Model::new(&mut init, vocabulary.len())?;
    let parameters = init.build()?;
    let mut adam = Adam::new(&parameters, AdamConfig { lr: 0.01, ..AdamConfig::default() })?;
    let mut tape = Tape::new(&parameters);
    let mut state = zero_state(&device, batch)?;
    let mut final_loss = f32::NAN;
    for pass in 1..=passes {
        let mut total: Option<Tensor> = None;
        for _ in 0..streams.chunks() {
            let chunk = streams.next_chunk()?;
            if chunk.starts_over {
                state = zero_state(&device, batch)?;
            }
            let inputs = Indices::new(&device, [sequence, batch], chunk.inputs)?;
            let targets = Indices::new(&device, [sequence, batch], chunk.targets)?;
            tape.clear();
            let logits = model.forward(&mut tape, &inputs, &mut state)?;
            let loss = tape.cross_entropy(logits, &targets, &CrossEntropyLoss::default())?;
            adam.zero_grad();
            tape.backward(loss)?;
            adam.clip_grad_norm(1.0)?;
            // The optimizer watches the loss: a step whose loss is NaN changes nothing, and neither does any later step.
            adam.step(Some(tape.value(loss)?))?;
            device.submit()?; // so that a GPU begins while the host prepares the next step
            // The losses are added up on the device: to read each of them would mean to wait for each.
            total = Some(match total {
                None => tape.value(loss)?.clone(),
                Some(total) => {
                    let earlier = tape.constant(&total);
                    let sum = tape.no_grad(|tape| tape.add(earlier, loss))?;
                    tape.value(sum)?.clone()
                }
            });
        }
        let total = total.expect("a pass has a step at least").to_vec()?[0];
        final_loss = total / streams.chunks() as f32;
        if pass == 1 || pass % (passes / 5).max(1) == 0 {
            let bits = f64::from(final_loss) / std::f64::consts::LN_2;
            println!("pass {pass:3}  loss {final_loss:.3}  ({bits:.2} bits a character)");
        }
    }

    // A model that has learnt nothing gives every character the same probability.
    println!("final loss {final_loss:.3}, knowing nothing {:.3}", (vocabulary.len() as f32).ln());

    // Sampling: each step reads the character that was just drawn, and the state carries all that came before it.
    let sampler = Sampler { temperature: 0.5, ..Sampler::default() };
    let prompt = text.streams(0..text.len(), 1, 8)?.next_chunk()?.inputs.to_vec(); // its first 8 characters
    let mut written = prompt.clone();
    let mut state = zero_state(&device, 1)?;
    let mut tokens = prompt;
    for draw in 0..120 {
        tape.clear();
        let input = Indices::new(&device, [tokens.len(), 1], &tokens)?;
        let logits = tape.no_grad(|tape| model.forward(tape, &input, &mut state))?;
        let logits = tape.value(logits)?.to_vec()?;
        let last = &logits[logits.len() - vocabulary.len()..]; // after the last of the tokens
        let next = sampler.choose(last, &written, 0, draw);
        written.push(next);
        tokens = vec![next];
    }
    println!("sample: {:?}", vocabulary.decode(&written));
    Ok(())
}
