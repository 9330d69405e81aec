//! A training that is interrupted and goes on ends with the same bits as one that is not: its parameters, moments, metrics, best
//! model and files.

mod common;

use std::cell::Cell;
use std::fs;
use std::path::Path;

use bptt::data::text::Unit;
use bptt::device::Device;
use bptt::error::{Error, Result};
use bptt::nn::CellKind;
use bptt::optim::OptimizerKind;
use bptt::parameters::Precision;
use bptt::train::{Config, Event, Experiment, Hooks, Run, ScheduleKind, Summary, train};
use common::files::files;
use common::runs::{assert_equal, ended, scratch, settings, summary, task};

/// How a session ends before its training does.
#[derive(Clone, Copy)]
enum End {
    Never,
    /// It is asked to stop when it asks so often, between steps or in a validation.
    Asked(usize),
    /// It fails at the event of that number: as after `kill -9` there is no checkpoint.
    Failed(usize),
}

/// What a session told.
#[derive(Default)]
struct Told {
    questions: usize,
    events: usize,
    notes: Vec<String>,
}

/// Begins a run, or goes on with it, as the command does. `change` changes the settings of a run that goes on.
fn session_with(
    device: &Device,
    path: &Path,
    config: &Config,
    end: End,
    change: impl Fn(&mut Config),
) -> (Result<Summary>, Told) {
    let (mut run, mut config) = match path.exists() {
        false => (Run::create(Some(path), "test", false).unwrap(), config.clone()),
        true => {
            let (run, file) = Run::open(path).unwrap();
            (run, file.config)
        }
    };
    change(&mut config);
    let mut task = task(device, &mut config).unwrap();
    run.set_config(&config).unwrap();
    let mut told = Told::default();
    let questions = Cell::new(0);
    let stop = || {
        let number = questions.replace(questions.get() + 1);
        matches!(end, End::Asked(at) if number >= at)
    };
    let mut on_event = |event: Event| {
        if let Event::Note(note) = event {
            told.notes.push(note);
        }
        told.events += 1;
        match end {
            End::Failed(at) if told.events > at => Err(Error::Interrupted),
            _ => Ok(()),
        }
    };
    let mut hooks = Hooks::new(&stop, &mut on_event);
    let summary = train(device, &config, &mut *task, Some(&mut run), &mut hooks);
    told.questions = questions.get();
    (summary, told)
}

fn session(device: &Device, path: &Path, config: &Config, end: End) -> (Result<Summary>, Told) {
    session_with(device, path, config, end, |_| {})
}

/// The same, to the end.
fn finish(device: &Device, path: &Path, config: &Config) -> (Summary, Told) {
    let (summary, told) = session(device, path, config, End::Never);
    (summary.unwrap(), told)
}

/// Breaks a training off in every way and at every place (or at every `each`-th), goes on, and compares.
fn check(device: &Device, config: &Config, each: usize) -> Summary {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let (whole, told) = finish(device, &path("whole"), config);
    let want = ended(device, &path("whole"));
    let run = path("run");
    let compare = |what: &str| {
        let (got, _) = finish(device, &run, config);
        assert_eq!(summary(&got), summary(&whole), "{what}");
        assert_equal(what, &ended(device, &run), &want);
        fs::remove_dir_all(&run).unwrap();
    };
    for k in (0..told.questions).step_by(each) {
        let (first, _) = session(device, &run, config, End::Asked(k));
        assert!(first.unwrap().interrupted);
        compare(&format!("asked to stop at question {k}"));
    }
    for k in (0..told.events).step_by(2 * each) {
        let (first, _) = session(device, &run, config, End::Failed(k));
        assert!(matches!(first, Err(Error::Interrupted)));
        compare(&format!("killed at event {k}"));
    }
    if each == 1 {
        // A step or a part of a validation a session.
        for k in 0.. {
            let (part, _) = session(device, &run, config, End::Asked(2));
            if !part.unwrap().interrupted {
                break;
            }
            assert!(k <= told.questions, "it does not get on");
        }
        compare("step by step");
    }
    whole
}

#[test]
fn sentences() {
    check(&Device::cpu(), &settings(Experiment::Hihello, 12, |_| {}), 1);
    let longseq = settings(Experiment::Longseq, 12, |config| {
        (config.model.dropout, config.train.clip, config.train.checkpoint_every) = (0.3, 0.5, 5);
        config.train.optimizer = OptimizerKind::Sgd;
    });
    check(&Device::cpu(), &longseq, 1);
}

#[test]
fn text_with_everything() {
    let lstm = settings(Experiment::Text, 24, |config| {
        (config.model.layers, config.model.dropout) = (2, 0.2);
        (config.train.clip, config.train.schedule, config.train.warmup) = (0.5, ScheduleKind::Cosine, 3);
        config.train.checkpoint_every = 3;
    });
    check(&Device::cpu(), &lstm, 1);
    let gru = settings(Experiment::Text, 22, |config| {
        (config.model.cell, config.model.layers, config.model.dropout) = (CellKind::Gru, 2, 0.2);
        (config.train.optimizer, config.train.weight_decay) = (OptimizerKind::Adamw, 0.1);
        (config.train.schedule, config.train.checkpoint_every) = (ScheduleKind::Onecycle, 2);
        (config.train.keep, config.data.tokens) = (1, Unit::Bytes);
    });
    check(&Device::cpu(), &gru, 2);
}

#[test]
fn text_whose_validation_loss_stays() {
    // From a good beginning up, as the learning rate is far too large.
    let plateau = settings(Experiment::Text, 16, |config| {
        (config.model.cell, config.model.layers) = (CellKind::Gru, 2);
        (config.train.optimizer, config.train.lr, config.train.lr_gamma) =
            (OptimizerKind::Rmsprop, 0.5, Some(0.5));
        (config.train.schedule, config.train.validate_every) = (ScheduleKind::Plateau, 1);
    });
    let whole = check(&Device::cpu(), &plateau, 1);
    assert!(whole.best.unwrap().step < 5, "the plateau does not count: {whole:?}");
    let patience = settings(Experiment::Text, 24, |config| {
        (config.model.cell, config.model.layers) = (CellKind::Rnn, 2);
        (config.train.optimizer, config.train.lr) = (OptimizerKind::Adagrad, 2.0);
        (config.train.validate_every, config.train.patience, config.train.checkpoint_every) = (2, 3, 5);
    });
    let whole = check(&Device::cpu(), &patience, 1);
    assert!(whole.stopped_early, "{whole:?}");
}

#[test]
fn timeseries() {
    for (batch, schedule) in [(200, ScheduleKind::Step), (0, ScheduleKind::Exponential)] {
        let series = settings(Experiment::Timeseries, 12, |config| {
            (config.train.batch, config.model.hidden, config.train.clip) = (batch, Some(4), 1.0);
            (config.train.schedule, config.train.lr_every, config.train.checkpoint_every) =
                (schedule, Some(5), 5);
            (config.model.layers, config.model.dropout) = (2, 0.2);
        });
        check(&Device::cpu(), &series, 1);
    }
}

/// In F16 the gradients do not fit with the first loss scale.
fn in_half(precision: Precision) -> Config {
    settings(Experiment::Text, 14, |config| {
        config.train.precision = precision;
        if precision == Precision::F16 {
            config.train.loss_scale = 8_388_608.0;
        }
        (config.model.layers, config.model.dropout, config.train.checkpoint_every) = (2, 0.2, 3);
    })
}

#[test]
fn in_half_precision() {
    for device in common::devices() {
        let each = if device.info().name == "cpu" { 2 } else { 7 };
        let whole = check(&device, &in_half(Precision::F16), each);
        assert!(whole.overflowed > 0, "the loss scale has not changed: {whole:?}");
        check(&device, &in_half(Precision::BF16), each);
    }
}

#[test]
fn on_the_gpu() {
    let text = settings(Experiment::Text, 14, |config| {
        (config.model.layers, config.model.dropout, config.train.clip) = (2, 0.2, 0.5);
        config.train.checkpoint_every = 3;
    });
    check(common::gpu(), &text, 6);
    let series = settings(Experiment::Timeseries, 8, |config| {
        (config.train.batch, config.model.hidden, config.train.checkpoint_every) = (200, Some(4), 3);
    });
    check(common::gpu(), &series, 4);
}

#[test]
fn a_run_that_has_ended_stays_as_it_is() {
    let folder = scratch();
    let run = folder.path().join("run");
    for experiment in [Experiment::Hihello, Experiment::Text, Experiment::Timeseries] {
        let config = settings(experiment, 10, |_| {});
        let (first, _) = finish(&Device::cpu(), &run, &config);
        let before = files(&run);
        let (again, told) = finish(&Device::cpu(), &run, &config);
        assert_eq!((summary(&again), again.seconds), (summary(&first), first.seconds));
        assert!(files(&run) == before && told.events == 1, "{experiment:?}");
        fs::remove_dir_all(&run).unwrap();
    }
}

#[test]
fn a_run_that_has_ended_goes_on() {
    let device = Device::cpu();
    for experiment in [Experiment::Longseq, Experiment::Text, Experiment::Timeseries] {
        let folder = scratch();
        let path = |name: &str| folder.path().join(name);
        let config =
            settings(experiment, 20, |config| (config.train.patience, config.model.dropout) = (9, 0.1));
        let short =
            Config { train: bptt::train::TrainConfig { steps: 8, ..config.train.clone() }, ..config.clone() };
        finish(&device, &path("whole"), &config);
        finish(&device, &path("run"), &short);
        let longer = |config: &mut Config| config.train.steps = 20;
        let (summary, _) = session_with(&device, &path("run"), &config, End::Asked(5), longer);
        assert!(summary.unwrap().interrupted);
        // It knows by itself that it is longer now.
        finish(&device, &path("run"), &config);
        assert_equal(experiment.name(), &ended(&device, &path("run")), &ended(&device, &path("whole")));
    }
}

/// What is refused changes nothing.
#[test]
fn fewer_steps_than_are_done() {
    let folder = scratch();
    let run = folder.path().join("run");
    let config = settings(Experiment::Hihello, 10, |_| {});
    finish(&Device::cpu(), &run, &config);
    let before = files(&run);
    let (refused, _) =
        session_with(&Device::cpu(), &run, &config, End::Never, |config| config.train.steps = 5);
    let message = common::refused("fewer steps", refused);
    assert!(
        message.contains("10 steps are done already; --steps, 5, counts from the beginning"),
        "{message}"
    );
    assert!(files(&run) == before);
}

/// From an older checkpoint the same end is reached.
#[test]
fn a_damaged_checkpoint() {
    let (device, folder) = (Device::cpu(), scratch());
    let (whole, run) = (folder.path().join("whole"), folder.path().join("run"));
    // The best validation is before the newest checkpoint, and is that of the older one too.
    let config = settings(Experiment::Text, 16, |config| {
        (config.train.validate_every, config.train.lr) = (3, 0.1);
        (config.train.checkpoint_every, config.train.keep) = (1, 2);
    });
    finish(&device, &whole, &config);
    for k in 3..14 {
        session(&device, &run, &config, End::Asked(k)).0.unwrap();
        let mut checkpoints: Vec<_> =
            fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
        checkpoints.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        let newest = checkpoints.last().unwrap();
        let mut bytes = fs::read(newest).unwrap();
        match k % 3 {
            0 => bytes.truncate(1000),
            1 => *bytes.last_mut().unwrap() ^= 1,
            _ => bytes.clear(),
        }
        fs::write(newest, bytes).unwrap();
        let (_, told) = finish(&device, &run, &config);
        let [note] = &told.notes[..] else { panic!("{:?}", told.notes) };
        assert!(
            note.starts_with(&format!("{}: is no whole checkpoint: ", newest.display()))
                && note.ends_with("; going on from an older checkpoint"),
            "{note}"
        );
        assert_equal(&format!("question {k}"), &ended(&device, &run), &ended(&device, &whole));
        fs::remove_dir_all(&run).unwrap();
    }
    // Where all are damaged there is nothing to go on from.
    for path in fs::read_dir(whole.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()) {
        fs::write(path, "").unwrap();
    }
    let before = files(&whole);
    let (refused, _) = session(&device, &whole, &config, End::Never);
    let Err(Error::Data { path, message }) = refused else { panic!("{refused:?}") };
    assert_eq!(path, whole.join("checkpoints/step-16.safetensors"));
    assert!(message.starts_with("is no whole checkpoint") && files(&whole) == before, "{message}");
}

/// Rows are no reason not to go on.
#[test]
fn metrics_that_were_lost() {
    let (device, folder) = (Device::cpu(), scratch());
    let config = settings(Experiment::Hihello, 12, |_| {});
    let whole = folder.path().join("whole");
    finish(&device, &whole, &config);
    let want = ended(&device, &whole);
    type Damage = fn(&Path);
    let damages: [(Damage, usize); 4] = [
        (|path| fs::remove_file(path).unwrap(), 0),
        (|path| fs::write(path, "").unwrap(), 0),
        // In the middle of the third line.
        (|path| fs::write(path, &fs::read(path).unwrap()[..140]).unwrap(), 2),
        (|path| fs::write(path, fs::read(path).unwrap().repeat(2)).unwrap(), 5),
    ];
    for (number, (damage, kept)) in damages.into_iter().enumerate() {
        let run = folder.path().join(number.to_string());
        session(&device, &run, &config, End::Asked(6)).0.unwrap();
        for name in ["metrics.jsonl", "metrics.csv"] {
            damage(&run.join(name));
        }
        let (_, told) = finish(&device, &run, &config);
        assert_eq!(told.notes.len(), if kept == 5 { 0 } else { 2 }, "{:?}", told.notes);
        let mut got = ended(&device, &run);
        let rows = String::from_utf8(got.files["metrics.jsonl"].clone()).unwrap();
        let whole_rows: Vec<_> = std::str::from_utf8(&want.files["metrics.jsonl"]).unwrap().lines().collect();
        assert_eq!(rows.lines().collect::<Vec<_>>(), [&whole_rows[..kept], &whole_rows[5..]].concat());
        let table = String::from_utf8(got.files["metrics.csv"].clone()).unwrap();
        assert!(
            table.starts_with("step,loss,lr,grad_norm,validation_loss,loss_scale,overflowed\n"),
            "{table}"
        );
        assert!(table.lines().skip(1).all(|line| line.split(',').count() == 7), "{table}");
        for name in ["metrics.jsonl", "metrics.csv"] {
            got.files.insert(name.into(), want.files[name].clone());
        }
        got.checkpoint.insert("progress".into(), want.checkpoint["progress"].clone());
        assert_equal("all else", &got, &want);
    }
}
