//! The "hihello" exercise: a character RNN learns to answer "hihell" with "ihello". Layers, tape and optimizer are used
//! one by one, as in a loop of PyTorch; `bptt::train` has such a loop ready-made.
//!
//!     cargo run --release --example hihello

use bptt::data::text::{HIHELLO, Vocabulary};
use bptt::prelude::*;

fn main() -> Result<()> {
    // The best GPU, else the CPU; BPTT_DEVICE=cpu or =gpu overrides it. Nothing below depends on which one it is.
    let device = Device::auto()?;
    println!("device: {}", device.info());

    // A token is the index of its character; the target of each character is the one after it. "l" is followed by "l"
    // and by "o", and "h" by "i" and by "e": only a network that remembers can tell them apart.
    let vocabulary = Vocabulary::from_text(HIHELLO);
    let tokens = vocabulary.encode(HIHELLO).expect("the vocabulary is made of this text");
    let (classes, steps) = (vocabulary.len(), tokens.len() - 1);
    // Time comes first, as in PyTorch: [T, B] with one sequence in the batch.
    let inputs = Indices::new(&device, [steps, 1], &tokens[..steps])?.one_hot(classes)?;
    let labels = Indices::new(&device, [steps, 1], &tokens[1..])?;

    // In PyTorch a module owns its parameters. Here an initializer collects those of all layers, so that they lie side
    // by side on the device and an optimizer step is one launch for the whole model. The names are those of a state dict.
    let mut init = Initializer::new(&device, 0); // the seed
    let config = RnnConfig { input_size: classes, hidden_size: 16, ..RnnConfig::default() };
    let rnn = Rnn::new(&mut init, "rnn", &config)?;
    let config = LinearConfig { in_features: 16, out_features: classes, bias: true };
    let fc = Linear::new(&mut init, "fc", &config)?;
    let parameters = init.build()?;
    println!("{} parameters", parameters.count());

    let mut adam = Adam::new(&parameters, AdamConfig { lr: 0.05, ..AdamConfig::default() })?;
    // The tape is what autograd's graph is in PyTorch: it records what the layers do. It is cleared for each step.
    let mut tape = Tape::new(&parameters);
    let (mut final_loss, mut answer) = (f32::NAN, String::new());
    // ANCHOR: loop
    for step in 1..=100 {
        tape.clear();
        let x = tape.constant(&inputs);
        let states = rnn.forward(&mut tape, x, None)?; // no initial state: 0
        let logits = fc.forward(&mut tape, states.output)?; // [T, B, C]
        let loss = tape.cross_entropy(logits, &labels, &CrossEntropyLoss::default())?;

        adam.zero_grad();
        tape.backward(loss)?; // backpropagation through time
        adam.clip_grad_norm(1.0)?;
        adam.step(None)?;

        // Up to here the host has not waited for the device. To read a value it must, so that is done only now and then.
        if step == 1 || step % 20 == 0 {
            final_loss = tape.value(loss)?.to_vec()?[0];
            let (_, best) = tape.max_dim(logits, 2, false)?; // as torch.max(logits, 2): values and indices
            answer = vocabulary.decode(&best.to_i32()?);
            println!("step {step:3}  loss {final_loss:.4}  {:?} -> {answer:?}", &HIHELLO[..steps]);
        }
    }
    // ANCHOR_END: loop
    let learnt = answer == HIHELLO[1..];
    println!("final loss {final_loss:.4}, learnt exactly: {learnt}");
    Ok(())
}
