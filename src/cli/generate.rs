//! `bptt generate`.

use std::path::PathBuf;

use bptt::error::{Error, Result};
use bptt::train::{Generate, RunFolder, Sampler};
use serde_json::json;

use super::numbers::{not_negative, whole};
use super::output::Output;
use super::{device, interruption};

/// Options of `bptt generate`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of the model [default: the newest in runs/]
    model: Option<PathBuf>,
    /// The text to continue [default: a new line, a space or the model's first character]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Characters to write
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = whole::<u64>)]
    length: u64,
    /// Below 1 more probable text, above 1 bolder; 0: always the most probable character
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = not_negative)]
    temperature: f64,
    /// Choose among the K most probable characters; 0: among all
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = whole::<usize>)]
    top_k: usize,
    /// Of the random choices
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u64>)]
    seed: u64,
    /// auto, cpu, gpu, an index, part of a name
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    let sampler = Sampler { temperature: args.temperature, top_k: args.top_k, seed: args.seed };
    let path = match args.model {
        Some(path) => path,
        None => RunFolder::newest()?,
    };
    let device = device(&args.device)?;
    let model = RunFolder::load(&path, &device)?;
    let prompt = args.prompt.unwrap_or_else(|| {
        let known = |c: &char| model.vocabulary.chars().contains(c);
        ['\n', ' '].into_iter().find(known).unwrap_or(model.vocabulary.chars()[0]).to_string()
    });
    let mut generate = Generate::new(&model, &prompt, sampler)?;
    let mut text = prompt.clone();
    let stop = interruption();
    output.part(&prompt)?;
    for _ in 0..args.length {
        let next = generate.next_char()?;
        text.push(next);
        output.part(next.encode_utf8(&mut [0; 4]))?;
        if stop() {
            output.line("")?;
            return Err(Error::Interrupted);
        }
    }
    output.line("")?;
    output.event(&json!({
        "event": "done", "model": path.display().to_string(), "device": device.info().to_string(), "prompt": prompt,
        "text": text, "seed": args.seed,
    }))
}
