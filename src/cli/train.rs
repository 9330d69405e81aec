//! `bptt train`.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bptt::data::text::{LONGSEQ, Text, Unit, Vocabulary, fit};
use bptt::device::Device;
use bptt::error::{Error, Result};
use bptt::train::{
    CharModel, Event, RunFolder, Sentence, SentenceOptions, Summary, TextOptions, bits_per_character,
    train_text,
};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::json;

use super::numbers::{at_least_1, not_negative, positive, whole};
use super::output::Output;
use super::profile::Profile;
use super::{device, interruption};

/// Options of `bptt train`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Subcommand)]
enum Experiment {
    /// "hihell" -> "ihello": five symbols, one sequence, no linear layer
    Hihello(SentenceArgs),
    /// " if you want you": each character from those before it
    Charseq(SentenceArgs),
    /// A sentence of 180 characters in windows of 10: two layers and a linear one
    Longseq(SentenceArgs),
    /// A character model of any text
    Text(TextArgs),
}

/// Options that all experiments have.
#[derive(clap::Args)]
struct Common {
    /// auto, cpu, gpu, an index, part of a name
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Of the initial values
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u64>)]
    seed: u64,
    /// Size of the recurrent layers
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    hidden: Option<usize>,
    /// Number of recurrent layers
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    layers: Option<usize>,
    /// Learning rate of Adam
    #[arg(long, value_name = "X", value_parser = positive)]
    lr: Option<f64>,
    /// The folder for the model [default: a new one, runs/EXPERIMENT-NUMBER]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite the model in an existing --out
    #[arg(long)]
    force: bool,
    /// Print what a step took: launches, submissions, memory, and the time by kernel
    #[arg(long)]
    profile: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Options of hihello, charseq and longseq.
#[derive(clap::Args)]
struct SentenceArgs {
    /// Steps; an epoch is one step here
    #[arg(long, visible_alias = "epochs", value_name = "N", value_parser = at_least_1::<u64>)]
    steps: Option<u64>,
    /// Make the logits by a linear layer
    #[arg(long)]
    linear: bool,
    #[command(flatten)]
    common: Common,
}

/// Options of text.
#[derive(clap::Args)]
struct TextArgs {
    /// The text, in UTF-8 [default: the sentence of longseq]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Steps
    #[arg(long, value_name = "N", value_parser = at_least_1::<u64>, conflicts_with = "epochs")]
    steps: Option<u64>,
    /// Passes over the text, in place of --steps
    #[arg(long, value_name = "N", value_parser = at_least_1::<u64>)]
    epochs: Option<u64>,
    /// Streams read side by side
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    batch: Option<usize>,
    /// Characters of each stream in a step
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    sequence: Option<usize>,
    /// Size of a character's vector [default: that of the recurrent layers]
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    embedding: Option<usize>,
    /// The largest norm of the gradient; 0: any
    #[arg(long, value_name = "X", value_parser = not_negative, default_value_t = 1.0)]
    clip: f64,
    #[command(flatten)]
    common: Common,
}

/// Completes the options' help with the defaults, which differ between the experiments.
pub fn with_defaults(train: clap::Command) -> clap::Command {
    let train = [Sentence::Hihello, Sentence::Charseq, Sentence::Longseq].into_iter().fold(
        train,
        |train, sentence| {
            let SentenceOptions { steps, lr, layers, linear, .. } = sentence.defaults();
            let hidden = Vocabulary::from_text(sentence.text()).len();
            let defaults = [
                ("steps", steps.to_string()),
                ("lr", lr.to_string()),
                ("layers", layers.to_string()),
                ("hidden", format!("{hidden}, the number of distinct characters")),
            ];
            train.mut_subcommand(sentence.name(), |command| {
                // Nothing to choose where there always is one.
                show_defaults(command, defaults).mut_arg("linear", |option| option.hide(linear))
            })
        },
    );
    let TextOptions { steps, lr, layers, hidden, batch, sequence, .. } = TextOptions::default();
    let defaults = [
        ("steps", steps.to_string()),
        ("lr", lr.to_string()),
        ("layers", layers.to_string()),
        ("hidden", hidden.to_string()),
        ("batch", batch.to_string()),
        ("sequence", sequence.to_string()),
    ];
    train.mut_subcommand("text", |command| show_defaults(command, defaults))
}

fn show_defaults<const N: usize>(
    command: clap::Command,
    defaults: [(&'static str, String); N],
) -> clap::Command {
    defaults.into_iter().fold(command, |command, (name, value)| {
        command.mut_arg(name, |option| {
            let help = option.get_help().expect("every option has a doc comment").to_string();
            option.help(format!("{help} [default: {value}]"))
        })
    })
}

pub fn run(args: Args) -> Result<()> {
    match args.experiment {
        Experiment::Hihello(args) => sentence(Sentence::Hihello, &args),
        Experiment::Charseq(args) => sentence(Sentence::Charseq, &args),
        Experiment::Longseq(args) => sentence(Sentence::Longseq, &args),
        Experiment::Text(args) => text(&args),
    }
}

/// How often a sentence's predictions are shown in a training.
const SHOWN: u64 = 10;

fn sentence(sentence: Sentence, args: &SentenceArgs) -> Result<()> {
    let defaults = sentence.defaults();
    let steps = args.steps.unwrap_or(defaults.steps);
    let options = SentenceOptions {
        steps,
        lr: args.common.lr.unwrap_or(defaults.lr),
        hidden: args.common.hidden,
        layers: args.common.layers.unwrap_or(defaults.layers),
        linear: args.linear || defaults.linear,
        seed: args.common.seed,
        show_every: if args.common.json { 0 } else { steps.div_ceil(SHOWN) },
    };
    let session = Session::begin(&args.common, sentence.name(), None)?;
    let (model, summary) =
        sentence.train(&session.device, &options, &interruption(), &mut |event| session.show(event))?;
    session.finish(&model, &summary, false)
}

fn text(args: &TextArgs) -> Result<()> {
    let defaults = TextOptions::default();
    let text = match &args.file {
        Some(path) => Text::open(path, Unit::Characters)?,
        None => Text::from_text(LONGSEQ, Unit::Characters),
    };
    let asked = (args.batch.unwrap_or(defaults.batch), args.sequence.unwrap_or(defaults.sequence));
    let characters = text.len();
    let (batch, sequence) = fitting(args, asked, characters)?;
    let shrunk = ((batch, sequence) != asked).then(|| {
        format!(
            "the text has {characters} characters, too few for batch {} and sequence {}: taking batch {batch} and \
             sequence {sequence}",
            asked.0, asked.1
        )
    });
    let options = TextOptions {
        steps: args.steps.unwrap_or(defaults.steps),
        epochs: args.epochs,
        batch,
        sequence,
        hidden: args.common.hidden.unwrap_or(defaults.hidden),
        layers: args.common.layers.unwrap_or(defaults.layers),
        embedding: args.embedding,
        lr: args.common.lr.unwrap_or(defaults.lr),
        clip: Some(args.clip).filter(|clip| *clip > 0.0),
        seed: args.common.seed,
    };
    let session = Session::begin(&args.common, "text", shrunk)?;
    let stop = interruption();
    let (model, summary) =
        train_text(&session.device, &text, &options, &stop, &mut |event| session.show(event))?;
    session.finish(&model, &summary, stop())
}

/// The batch and sequence that fit a text. What the user asked for by name is taken or refused, never changed.
fn fitting(args: &TextArgs, asked: (usize, usize), characters: usize) -> Result<(usize, usize)> {
    let count = format!("{characters} character{}", if characters == 1 { "" } else { "s" });
    let refuse = |why: String| match &args.file {
        Some(path) => Err(Error::data(path, format!("has {count}{why}"))),
        None => Err(Error::argument(
            "text",
            format!("the default text has {count}{why}; name a longer one with --file"),
        )),
    };
    if fit(characters, 1, 1).is_none() {
        return refuse("; training and validation need at least 20".into());
    }
    let fits =
        |&(batch, sequence): &(usize, usize)| fit(characters, batch, sequence) == Some((batch, sequence));
    let halves = |size| std::iter::successors(Some(size), |size| Some(size / 2)).take_while(|size| *size > 0);
    let found = match (args.batch, args.sequence) {
        (None, None) => fit(characters, asked.0, asked.1),
        (None, Some(sequence)) => halves(asked.0).map(|batch| (batch, sequence)).find(fits),
        (Some(batch), None) => halves(asked.1).map(|sequence| (batch, sequence)).find(fits),
        (Some(_), Some(_)) => Some(asked).filter(fits),
    };
    let named = [("batch", args.batch), ("sequence", args.sequence)];
    let named = named.map(|(name, size)| size.map(|size| format!("{name} {size}")));
    let named = named.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let why = || format!(", a tenth of them for validation: too few for {named}");
    found.map_or_else(|| refuse(why()), Ok)
}

/// One run of training: its device, its folder, and what the user sees of it.
struct Session {
    experiment: &'static str,
    device: Device,
    output: Output,
    folder: RunFolder,
    /// What the user should know once training begins.
    note: Option<String>,
    profile: Option<Profile>,
    start: Instant,
    bar: ProgressBar,
}

impl Session {
    fn begin(common: &Common, experiment: &'static str, note: Option<String>) -> Result<Session> {
        let output = Output::new(common.json);
        let device = device(&common.device)?;
        let folder = RunFolder::create(common.out.as_deref(), experiment, common.force)?;
        let bar = ProgressBar::hidden();
        let profile = common.profile.then(|| Profile::start(&device)).transpose()?;
        Ok(Session { experiment, device, output, folder, note, profile, start: Instant::now(), bar })
    }

    fn show(&self, event: Event) -> Result<()> {
        match event {
            Event::Begin { steps } => self.show_begin(steps)?,
            Event::Step { step, loss } => {
                self.bar.set_position(step);
                if self.output.is_json() {
                    self.output.event(&json!({"event": "step", "step": step, "loss": loss}))?;
                } else if !self.bar.is_hidden() {
                    self.bar.set_message(format!("loss {loss:.4}"));
                }
            }
            Event::Decoded { step, loss, text } => {
                self.output.line(format!("step {step:>5}  loss {loss:.4}  {text}"))?;
            }
            Event::Validation { step, loss } => {
                let bits = bits_per_character(loss);
                self.bar.suspend(|| {
                    self.output.line(format!(
                        "step {step:>6}  validation loss {loss:.4}, {bits:.3} bits per character, {:.0} s",
                        self.start.elapsed().as_secs_f64()
                    ))
                })?;
                self.output.event(&json!({
                    "event": "validation", "step": step, "validation_loss": loss, "bits_per_character": bits,
                }))?;
            }
        }
        Ok(())
    }

    fn show_begin(&self, steps: u64) -> Result<()> {
        let info = self.device.info();
        self.output.line(format!("training {} on {info}", self.experiment))?;
        if info.software {
            self.output.note(&format!(
                "{} is a GPU made of software: right, but slower than --device cpu",
                info.name
            ));
        }
        if let Some(note) = &self.note {
            self.output.note(note);
        }
        if self.experiment == "text" && !self.output.is_json() && std::io::stderr().is_terminal() {
            let template = "{bar:20} {pos}/{len} steps  {msg}  {speed}/s  {eta} left";
            let style = ProgressStyle::with_template(template).expect("the template is well-formed");
            let speed = |state: &ProgressState, to: &mut dyn Write| {
                // A line that cannot be drawn is no reason to stop.
                let _ = write!(to, "{:.1}", state.per_sec());
            };
            let style = style.with_key("speed", speed);
            self.bar.set_style(style);
            self.bar.set_length(steps);
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
        Ok(())
    }

    /// Saves the model and says how it went.
    fn finish(mut self, model: &CharModel, summary: &Summary, interrupted: bool) -> Result<()> {
        let seconds = self.start.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        self.folder.save(model)?;
        let Summary { steps, loss, accuracy, decoded, validation_loss } = summary;
        let path = self.folder.path();
        if interrupted {
            self.output
                .note(&format!("interrupted after step {steps}; the model so far is in {}", path.display()));
            return Err(Error::Interrupted);
        }
        let mut done = json!({
            "event": "done", "experiment": self.experiment, "device": self.device.info().to_string(), "steps": steps,
            "loss": loss, "accuracy": accuracy, "decoded": decoded, "seconds": seconds,
            "out": path.display().to_string(),
        });
        let mut line = format!("{steps} steps in {seconds:.2} s: loss {loss:.4}, accuracy {accuracy:.3}");
        if let Some(loss) = validation_loss {
            done["validation_loss"] = json!(loss);
            done["bits_per_character"] = json!(bits_per_character(*loss));
            line += &format!(", validation {:.3} bits per character", bits_per_character(*loss));
        } else {
            line += &format!(", predicted {decoded:?}");
        }
        self.output.line(line)?;
        if let Some(profile) = self.profile.take() {
            profile.finish(self.output, *steps)?;
        }
        self.output.line(format!(
            "the model is in {}{}",
            path.display(),
            next_command(path, self.experiment)
        ))?;
        self.output.event(&done)
    }
}

fn next_command(path: &Path, experiment: &str) -> String {
    match experiment {
        "text" => format!("; continue a text with: bptt generate {}", path.display()),
        _ => String::new(),
    }
}
