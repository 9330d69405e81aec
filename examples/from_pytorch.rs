//! Loads a model that PyTorch has trained, and runs it. The outputs agree with PyTorch's up to the rounding of 32 bits.
//!
//!     cargo run --release --example from_pytorch
//!
//! The files were made in Python (tests/pytorch/make_fixtures.py has it all):
//!
//! ```python
//! class Forecaster(torch.nn.Module):
//!     def __init__(self):
//!         super().__init__()
//!         self.lstm = torch.nn.LSTM(3, 8, num_layers=2, batch_first=True)
//!         self.head = torch.nn.Linear(8, 2)
//!     def forward(self, x):
//!         output, _ = self.lstm(x)
//!         return self.head(output)
//!
//! state = {k: v.contiguous().clone() for k, v in model.state_dict().items()}
//! safetensors.torch.save_file(state, "forecaster.safetensors")
//! ```

use std::path::PathBuf;

use bptt::prelude::*;
use safetensors::SafeTensors;

/// The same module. Its layers have the names of the module's attributes, so that the parameters have the names in the file.
struct Forecaster {
    lstm: Lstm,
    head: Linear,
}

impl Forecaster {
    fn new(init: &mut Initializer) -> Result<Forecaster> {
        let config = LstmConfig {
            input_size: 3,
            hidden_size: 8,
            num_layers: 2,
            batch_first: true,
            ..LstmConfig::default()
        };
        let lstm = Lstm::new(init, "lstm", &config)?;
        let config = LinearConfig { in_features: 8, out_features: 2, bias: true };
        Ok(Forecaster { lstm, head: Linear::new(init, "head", &config)? })
    }

    fn forward(&self, tape: &mut Tape, x: Var) -> Result<Var> {
        let states = self.lstm.forward(tape, x, None)?;
        self.head.forward(tape, states.output)
    }
}

/// A tensor of a safetensors file: its shape and values.
fn tensor(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f32>) {
    let view = file.tensor(name).expect("the file has the tensor");
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    (view.shape().to_vec(), values.collect())
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    println!("device: {}", device.info());
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pytorch"));

    // The layers are made with random values, which the file replaces. Where a name or shape does not fit, the error lists
    // everything that is missing, unknown or different, and nothing is changed.
    let mut init = Initializer::new(&device, 0);
    let model = Forecaster::new(&mut init)?;
    let parameters = init.build()?;
    load_weights(&parameters, &folder.join("forecaster.safetensors"))?;
    for (name, shape) in parameters.names() {
        println!("loaded {name} {shape:?}");
    }

    // A batch, and the outputs that PyTorch computed for it, in 64 bits: so only our own rounding is seen.
    let path = folder.join("forecaster_results.safetensors");
    let bytes = std::fs::read(&path).map_err(|error| Error::data(&path, error))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| Error::data(&path, error))?;
    let (shape, x) = tensor(&file, "x");
    let (_, expected) = tensor(&file, "expect.y");

    // A new tape is for evaluation, as after model.eval(): there is no dropout.
    let mut tape = Tape::new(&parameters);
    let x = tape.constant(&Tensor::from_f32(&device, &shape[..], &x)?); // [B, T, I], batch-first
    let y = tape.no_grad(|tape| model.forward(tape, x))?;
    let y = tape.value(y)?.to_vec()?;

    println!("PyTorch's outputs begin with {:?}", &expected[..4]);
    println!("ours begin with              {:?}", &y[..4]);
    let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let error = norm(&mut y.iter().zip(&expected).map(|(y, e)| y - e));
    println!("relative error {:.2e}", error / norm(&mut expected.iter().copied()));
    Ok(())
}
