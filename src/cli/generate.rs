//! `bptt generate`: continues a text with a trained model.

use std::path::PathBuf;

use bptt::data::text::Unit;
use bptt::error::{Error, Result};
use bptt::train::{CharModel, Generate, Model, Sampler, newest_text_model};
use serde_json::json;

use super::numbers::{at_least_1, from_1, not_negative, top_share, whole};
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
    /// How many characters, or bytes, to write
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = whole::<u64>)]
    length: u64,
    /// How many texts to write
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_1::<usize>)]
    samples: usize,
    /// Below 1 text is more probable, above 1 it is bolder; 0 always takes the most probable character
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = not_negative)]
    temperature: f64,
    /// Choose among the K most probable characters, or among all for 0
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = whole::<usize>)]
    top_k: usize,
    /// Choose among the most probable characters, as few as together have probability P
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = top_share)]
    top_p: f64,
    /// Above 1, characters that were just used become less probable
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = from_1)]
    repetition: f64,
    /// How many of the last characters count as just used
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = whole::<usize>)]
    repetition_window: usize,
    /// Seed of the random choices
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u64>)]
    seed: u64,
    /// auto, cpu, gpu, an index, part of a name
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Print a JSON object for each text
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    let Args { temperature, top_k, top_p, repetition, repetition_window, seed, samples, .. } = args;
    let sampler = Sampler { temperature, top_k, top_p, repetition, repetition_window, seed };
    let path = match args.model {
        Some(path) => path,
        None => newest_text_model()?,
    };
    let device = device(&args.device)?;
    let model = Model::load_char(&path, &device)?;
    let prompt = args.prompt.unwrap_or_else(|| default_prompt(&model));
    let mut generate = Generate::new(&model, &prompt, sampler, samples)?;
    let mut texts = vec![prompt.clone().into_bytes(); samples];
    let stop = interruption();
    // All texts are made side by side. The first is printed as it is made; the others follow as wholes.
    output.bytes(prompt.as_bytes())?;
    for _ in 0..args.length {
        let parts = generate.advance()?;
        output.bytes(&parts[0])?;
        texts.iter_mut().zip(&parts).for_each(|(text, part)| text.extend(part));
        if stop() {
            output.line("")?;
            return Err(Error::Interrupted);
        }
    }
    output.line("")?;
    for text in &texts[1..] {
        output.line("\n----------\n")?;
        output.bytes(text)?;
        output.line("")?;
    }
    for (sample, text) in texts.iter().enumerate() {
        let mut done = json!({
            "event": "done", "model": path.display().to_string(), "device": device.info().to_string(),
            "prompt": prompt, "text": String::from_utf8_lossy(text), "seed": args.seed,
        });
        if samples > 1 {
            done["sample"] = json!(sample);
        }
        output.event(&done)?;
    }
    Ok(())
}

/// What a text begins with where no prompt is given: what comes before a line or a word in the text that the model knows.
pub fn default_prompt(model: &CharModel) -> String {
    let known = |c: &char| model.vocabulary.chars().contains(c);
    match model.vocabulary.unit() {
        Unit::Bytes => "\n".into(),
        Unit::Characters => {
            ['\n', ' '].into_iter().find(known).unwrap_or(model.vocabulary.chars()[0]).to_string()
        }
    }
}
