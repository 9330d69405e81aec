//! The command line: one file for each subcommand. What they print for people goes through [`Output`]; with `--json` they print
//! JSON lines instead.

mod bench;
mod check;
mod conform;
mod convert;
mod curves;
mod devices;
mod eval;
mod experiment;
mod explain;
mod generate;
mod graph;
mod numbers;
mod output;
mod plot;
mod predict;
mod profile;
mod report;
mod trace;
mod train;
mod tune;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use bptt::device::Device;
use bptt::error::{Error, Result};
use bptt::parameters::Precision;
use bptt::plans::load_plans;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use output::{Output, STDOUT, is_closed};

/// Recurrent networks trained on any GPU, or on the CPU where there is none.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 bad data or model file, 4 GPU fault, \
                          130 interrupted, 141 nobody reads the output (train saves and gives 1).\n\
                          Devices: auto takes the best real GPU, else the CPU; the environment variable BPTT_DEVICE \
                          overrides it. `bptt devices` lists what there is.";

#[derive(Subcommand)]
enum Command {
    /// Train a model, or go on with a run
    Train(Box<train::Args>),
    /// Continue a text with a trained model
    Generate(generate::Args),
    /// Forecast from a table with a trained model
    Predict(predict::Args),
    /// Measure a trained model on a text or a table
    Eval(eval::Args),
    /// Write a model's weights in another type: half the size in f16 and bf16
    Convert(convert::Args),
    /// Draw the curves of a run
    Plot(plot::Args),
    /// Make the page of a run: results, curves and a look inside the model
    Report(report::Args),
    /// Record some steps of a training: what host and device do, launch by launch
    Trace(Box<trace::Args>),
    /// Draw what a step of training computes, and which way its gradients flow
    Graph(Box<graph::Args>),
    /// Take a step of training apart: every operation with its cost, every schedule, every number
    Explain(Box<explain::Args>),
    /// Check that a device computes what it should
    Check(check::Args),
    /// Compare with PyTorch's results, case by case
    Conform(conform::Args),
    /// Measure training steps, kernels and launches
    Bench(bench::Args),
    /// Find out how kernels run fastest on this GPU
    Tune(tune::Args),
    /// List the devices
    Devices(devices::Args),
}

/// Runs the command that the process was given.
pub fn main() -> ExitCode {
    // A usage error comes before --json is parsed, so it is looked for here. In bench and check, --json is the name of a file.
    let file = std::env::args_os().nth(1).is_some_and(|command| command == "bench" || command == "check");
    let output = Output::new(!file && std::env::args_os().any(|argument| argument == "--json"));
    let parsed = everywhere(Args::command())
        .mut_subcommand("train", train::with_defaults)
        .mut_subcommand("trace", train::with_defaults)
        .mut_subcommand("graph", train::with_defaults)
        .mut_subcommand("explain", explain::with_defaults)
        .try_get_matches()
        .and_then(|matches| Args::from_arg_matches(&matches));
    let args = match parsed {
        Ok(args) => args,
        Err(error) => return usage(&error, output),
    };
    if let Err(error) = threads() {
        output.error(&sentence(&error));
        return ExitCode::from(exit_code(&error));
    }
    let done = |()| ExitCode::SUCCESS;
    let trains = matches!(args.command, Command::Train(_));
    let result = match args.command {
        Command::Train(args) => train::run(*args).map(done),
        Command::Generate(args) => generate::run(args).map(done),
        Command::Predict(args) => predict::run(args).map(done),
        Command::Eval(args) => eval::run(args).map(done),
        Command::Convert(args) => convert::run(args).map(done),
        Command::Plot(args) => plot::run(args).map(done),
        Command::Report(args) => report::run(args).map(done),
        Command::Trace(args) => trace::run(*args).map(done),
        Command::Graph(args) => graph::run(*args).map(done),
        Command::Explain(args) => explain::run(*args).map(done),
        Command::Check(args) => check::run(args),
        Command::Conform(args) => conform::run(args),
        Command::Bench(args) => bench::run(args).map(done),
        Command::Tune(args) => tune::run(args).map(done),
        Command::Devices(args) => devices::run(args).map(done),
    };
    match result {
        Ok(code) => code,
        // As of other commands that only print: what they printed was enough. The code is that of a process which SIGPIPE ends.
        Err(error) if is_closed(&error) && !trains => ExitCode::from(141),
        Err(error) => {
            output.error(&sentence(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// An error where BPTT_THREADS is no number of threads, which the library would pass over.
fn threads() -> Result<()> {
    match std::env::var_os("BPTT_THREADS") {
        Some(asked) if !asked.is_empty() => {
            let number = asked.to_str().and_then(|asked| asked.parse::<usize>().ok());
            let found = asked.display();
            number.filter(|number| *number > 0).map(drop).ok_or_else(|| {
                let message = format!("BPTT_THREADS must be a whole number of at least 1, got '{found}'");
                Error::argument("BPTT_THREADS", message)
            })
        }
        _ => Ok(()),
    }
}

/// What all commands have: the exit codes in their help; and options that take values such as -1, so that an error is about the
/// value and not about an option -1.
fn everywhere(command: clap::Command) -> clap::Command {
    let negative = |option: clap::Arg| {
        let takes_value = option.get_action().takes_values();
        option.allow_negative_numbers(takes_value)
    };
    command.after_help(AFTER_HELP).mut_args(negative).mut_subcommands(everywhere)
}

/// Prints help and version as clap does. Of an error it prints what is wrong, clap's tip, and where to read on.
fn usage(error: &clap::Error, output: Output) -> ExitCode {
    if !error.use_stderr() || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
    }
    let text = error.to_string();
    let parts = text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut sentence = String::new();
    for part in parts {
        if let Some(usage) = part.strip_prefix("Usage: ") {
            let is_name = |word: &&str| word.starts_with(char::is_alphabetic);
            let command = usage.split(' ').take_while(is_name).collect::<Vec<_>>().join(" ");
            sentence += &format!("; see {command} --help");
        } else if let Some(tip) = part.strip_prefix("tip: ") {
            sentence += &format!("; {tip}");
        } else if let Some(wrong) = part.strip_prefix("error: ") {
            sentence += wrong;
        }
    }
    output.error(&sentence);
    ExitCode::from(2)
}

/// The message of an error for users of the command, to whom the library's operations mean nothing.
fn sentence(error: &Error) -> String {
    match error {
        Error::Argument { message, .. } => message.clone(),
        error => error.to_string(),
    }
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Argument { .. } => 2,
        Error::NoDevice { asked, .. } if asked.eq_ignore_ascii_case("gpu") => 4,
        Error::NoDevice { .. } => 2,
        Error::Data { path, .. } if path.as_os_str() == STDOUT => 1,
        Error::Data { .. } => 3,
        Error::Gpu { .. } => 4,
        Error::Interrupted => 130,
        _ => 1,
    }
}

/// The parser of an option that takes a precision.
fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::ALL.map(Precision::name)).map(|name| {
        let named = Precision::ALL.into_iter().find(|precision| precision.name() == name);
        named.expect("it is one of them")
    })
}

/// The file in which `bptt tune` keeps its plans: the one that BPTT_PLANS names, else one in the user's settings folder.
fn plans_file() -> Option<PathBuf> {
    match std::env::var_os("BPTT_PLANS") {
        Some(path) => Some(path.into()),
        None => dirs::config_dir().map(|folder| folder.join("bptt").join("plans.json")),
    }
}

/// Opens the device of that name, with the plans that `bptt tune` found for it. Where the name is `auto`, BPTT_DEVICE overrides it;
/// an error then says so.
fn device(name: &str) -> Result<Device> {
    let device = Device::named(name).map_err(|error| match error {
        Error::NoDevice { asked, message } if asked != name.trim() => {
            Error::NoDevice { asked, message: format!("BPTT_DEVICE asks for it; {message}") }
        }
        other => other,
    })?;
    if let Some(file) = plans_file() {
        device.set_plans(load_plans(&file, device.info())?);
    }
    Ok(device)
}

/// From here on Ctrl-C does not end the process. It makes the returned function, which is called between steps, return true. A
/// second Ctrl-C ends the process at once.
fn interruption() -> impl Fn() -> bool {
    static PRESSED: AtomicBool = AtomicBool::new(false);
    // Where no handler can be set, Ctrl-C ends the process, as it does without one.
    let _ = ctrlc::set_handler(|| {
        if PRESSED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    || PRESSED.load(Ordering::Relaxed)
}
