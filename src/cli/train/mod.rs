//! `bptt train`: trains a model, or goes on with a run.

mod options;
mod show;

use std::cell::RefCell;
use std::path::PathBuf;

use bptt::data::scale::ScalerKind;
use bptt::data::text::fit;
use bptt::device::Device;
use bptt::error::{Error, Result};
use bptt::train::{
    Config, ConfigFile, Experiment, Hooks, Outcome, Remake, Run, ScheduleKind, Source, Summary, fit_memory,
    train,
};
use clap::ValueEnum;

use super::plot;
use super::profile::Profile;
use super::{device, interruption};
pub use options::{Args, Name, Settings, delimiter};
use show::Show;

/// The help of a command that takes an experiment, as the arguments ask for it.
pub fn with_defaults(command: clap::Command) -> clap::Command {
    let named = std::env::args_os().skip(2).find_map(|argument| {
        options::Name::from_str(argument.to_str()?, false).ok().map(options::Name::experiment)
    });
    let command = match named {
        Some(_) => command,
        None => {
            let line = |name: &options::Name| {
                let value = name.to_possible_value().expect("every experiment can be named");
                format!(
                    "  {:<12}{}",
                    value.get_name(),
                    value.get_help().expect("every experiment has a doc comment")
                )
            };
            let lines: Vec<String> = options::Name::value_variants().iter().map(line).collect();
            command.before_help(format!("Experiments, each with --help of its own:\n{}", lines.join("\n")))
        }
    };
    options::with_defaults(command, named)
}

pub fn run(args: Args) -> Result<()> {
    let (run, file) = match (&args.run.resume, &args.run.config) {
        (Some(path), _) => {
            let (run, file) = Run::open(path)?;
            (Some(run), Some(file))
        }
        (None, Some(path)) => (None, Some(ConfigFile::read(path)?)),
        (None, None) => (None, None),
    };
    let experiment = experiment(args.experiment, file.as_ref(), "a --config or a run to --resume")?;
    let options = args.table(experiment)?;
    let mut config = Config::resolve(file.as_ref(), experiment, &options)?;
    let begun = file.filter(|_| run.is_some()).map(|file| file.config);

    if args.run.require_exact && begun.is_none() {
        let message = "--require-exact is for a run that goes on: name it with --resume";
        return Err(Error::argument("train", message));
    }

    if args.run.auto_batch && !experiment.takes("accumulate") {
        let message = format!("--auto-batch is no option of {}", experiment.name());
        return Err(Error::argument("train", message));
    }

    let device = device(&config.device)?;
    if run.is_none() {
        Run::check_free(args.run.out.as_deref(), args.run.force)?;
    }
    let mut notes = Vec::new();
    // What was resolved before is taken as it is.
    let resolved = begun.is_some() || args.run.config.is_some();
    let named = args.settings.sizes().map(|given| resolved || given);
    let source = source(&mut config, named, &mut notes)?;
    let parts = config.train.accumulate;
    let memory = fit_memory(&device, &mut config, &source, begun.is_some(), args.run.auto_batch)?;
    if config.train.accumulate != parts {
        notes.push(format!("memory is short: taking a batch in {} parts", config.train.accumulate));
    }
    let mut task = source.task(&device, &mut config)?;
    notes.extend_from_slice(task.about());
    notes.extend(begun.as_ref().and_then(|begun| stretched(begun, &config)));
    if config.model.dropout > 0.0 && config.model.layers == 1 {
        notes.push("dropout acts between layers, and there is only one: it does nothing".into());
    }
    // The folder is made only now, so that none is left behind where data cannot be read.
    let mut run = match run {
        Some(run) => run,
        None => Run::create(args.run.out.as_deref(), experiment.name(), args.run.force)?,
    };
    for path in [&mut config.data.file, &mut config.data.csv].into_iter().flatten() {
        *path = absolute(path)?;
    }
    if let Some(begun) = &begun {
        config.check_resumed(begun)?;
    }
    if args.run.require_exact {
        run.check_exact(&device)?;
    }
    run.set_config(&config)?;

    let profile = args.run.profile.then(|| Profile::start(&device)).transpose()?;
    let show = Show::new(&args.run, &config, &device, notes);
    if profile.is_some() {
        show.memory(&memory)?;
    }
    // Where nothing can be printed any more, training ends as by Ctrl-C, so that nothing is lost. Before it begins, nothing can be.
    let unprinted = RefCell::new(None);
    let mut on_event = |event| match show.event(event) {
        Err(error) if show.has_begun() => {
            unprinted.borrow_mut().get_or_insert(error);
            Ok(())
        }
        shown => shown,
    };
    let interrupted = interruption();
    let stop = || interrupted() || unprinted.borrow().is_some();
    let show_every =
        if args.run.json || experiment.sentence().is_none() { 0 } else { config.train.steps.div_ceil(SHOWN) };
    let mut remake = |device: &Device, config: &Config| source.task(device, &mut config.clone());
    // A profile is of one device.
    let remake: Option<Remake<'_>> = if args.run.profile { None } else { Some(&mut remake) };
    let mut hooks = Hooks {
        stop: &stop,
        on_event: &mut on_event,
        show_every,
        remake,
        auto_batch: args.run.auto_batch,
        verify: args.run.verify_determinism.unwrap_or(0),
    };
    let summary = train(&device, &config, &mut *task, Some(&mut run), &mut hooks)?;
    show.clear();
    if summary.interrupted {
        draw(&show, &run);
        return Err(show.interrupted(&summary, run.path(), unprinted.into_inner()));
    }
    let result = show.result(&summary, run.path());
    run.save_result(&result)?;
    draw(&show, &run);
    match unprinted.into_inner() {
        Some(error) => Err(show.unprinted(error, run.path())),
        None => show
            .finish(&summary, &result, run.path(), profile)
            .map_err(|error| show.unprinted(error, run.path())),
    }
}

/// The experiment that is named, else that of a `config.toml`. An error names what else there is to name.
pub fn experiment(named: Option<Name>, file: Option<&ConfigFile>, else_name: &str) -> Result<Experiment> {
    match (named, file) {
        (Some(name), _) => Ok(name.experiment()),
        (None, Some(file)) => Ok(file.config.experiment),
        (None, None) => {
            let names = Experiment::ALL.map(Experiment::name).join(", ");
            Err(Error::argument("train", format!("name an experiment ({names}), {else_name}")))
        }
    }
}

/// Draws the curves; a training is none the worse where they cannot be drawn.
fn draw(show: &Show, run: &Run) {
    if let Err(error) = plot::draw(run.path(), None) {
        show.no_plots(&error);
    }
}

/// What the user should know of a run that goes on for longer with a schedule that depends on its end.
fn stretched(begun: &Config, config: &Config) -> Option<String> {
    let (old, new) = (begun.train.steps, config.train.steps);
    let depends = match config.train.schedule {
        ScheduleKind::Cosine | ScheduleKind::Onecycle => true,
        ScheduleKind::Exponential => config.train.lr_gamma.is_none(),
        ScheduleKind::Step => config.train.lr_every.is_none(),
        ScheduleKind::Constant | ScheduleKind::Plateau => false,
    };
    (depends && old != new).then(|| {
        format!("the schedule was made for {old} steps and is now stretched to {new}: the learning rate changes at once")
    })
}

/// How often a sentence's predictions are shown in a training.
const SHOWN: u64 = 10;

fn absolute(path: &std::path::Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::data(path, error))
}

/// The data of the settings; what the user should know of them is added to `notes`. Batch and sequence, where they are
/// `named`, are not changed to fit a text.
pub fn source(config: &mut Config, named: [bool; 2], notes: &mut Vec<String>) -> Result<Source> {
    let source = Source::read(config)?;
    if let (Source::Text(text), None) = (&source, &config.data.file) {
        let (tokens, of) = (text.len(), config.data.tokens);
        notes.push(format!("no --file was named: the text is the sentence of longseq, {tokens} {of}"));
    }
    if let Source::Text(text) = &source {
        notes.extend(fit_to(config, text.len(), named)?);
    }
    if matches!(source, Source::Table(_)) && config.data.csv.is_none() {
        notes.push("no --csv was named: the data are synthetic, a random walk of prices".into());
    }
    if matches!(source, Source::Table(_)) && config.data.scaler == ScalerKind::Original {
        notes.push(
            "--scaler original scales the test part by its own minima and maxima, as the original did: what is to be \
             forecast leaks into the inputs"
                .into(),
        );
    }
    Ok(source)
}

/// Makes batch and sequence fit a text of so many tokens. What the user asked for by name is taken or refused, never
/// changed; a change is told.
fn fit_to(config: &mut Config, tokens: usize, named: [bool; 2]) -> Result<Option<String>> {
    let of = config.data.tokens;
    let one = of.to_string();
    let count = format!("{tokens} {}", if tokens == 1 { one.trim_end_matches('s') } else { &one });
    let refuse = |why: String| match &config.data.file {
        Some(path) => Err(Error::data(path, format!("has {count}{why}"))),
        None => Err(Error::argument(
            "text",
            format!("the default text has {count}{why}; name a longer one with --file"),
        )),
    };
    if fit(tokens, 1, 1).is_none() {
        return refuse("; training and validation need at least 20".into());
    }
    let asked = (config.train.batch, config.train.sequence);
    let fits = |&(batch, sequence): &(usize, usize)| fit(tokens, batch, sequence) == Some((batch, sequence));
    let halves = |size| std::iter::successors(Some(size), |size| Some(size / 2)).take_while(|size| *size > 0);
    let found = match named {
        [false, false] => fit(tokens, asked.0, asked.1),
        [false, true] => halves(asked.0).map(|batch| (batch, asked.1)).find(fits),
        [true, false] => halves(asked.1).map(|sequence| (asked.0, sequence)).find(fits),
        [true, true] => Some(asked).filter(fits),
    };
    let Some(found) = found else {
        let names = [("batch", asked.0), ("sequence", asked.1)].into_iter().zip(named);
        let names = names.filter(|(_, named)| *named).map(|((name, size), _)| format!("{name} {size}"));
        let names = names.collect::<Vec<_>>().join(" and ");
        return refuse(format!(", a tenth of them for validation: too few for {names}"));
    };
    (config.train.batch, config.train.sequence) = found;
    Ok((found != asked).then(|| {
        format!(
            "the text has {count}, too few for batch {} and sequence {}: taking batch {} and sequence {}",
            asked.0, asked.1, found.0, found.1
        )
    }))
}

/// Whether a model did better than the forecast that nothing changes.
fn beats_naive(summary: &Summary) -> Option<bool> {
    match &summary.outcome {
        Some(Outcome::Forecast(metrics)) => Some(metrics.beats_naive()),
        _ => None,
    }
}
