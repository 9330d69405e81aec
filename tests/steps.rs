//! Steps of training. One that is not finite is named, nothing of it is kept, and it can be left out. One computed twice has the same
//! bits. One taken in parts is the same step.

mod common;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use bptt::device::{Device, Failure};
use bptt::error::{Error, Fault, Result};
use bptt::nn::CellKind;
use bptt::optim::OptimizerKind;
use bptt::tape::{Tape, Var};
use bptt::tensor::Tensor;
use bptt::train::{
    Config, DataFacts, Event, Experiment, Hooks, ModelFiles, Outcome, Part, Place, Run, Summary, Task, train,
};
use common::runs::{assert_equal, ended, scratch, settings, task};

/// What is done to the loss of one batch.
#[derive(Clone, Copy)]
enum Spoil {
    /// It is multiplied.
    Times(f32),
    /// It differs from time to time.
    Unrepeatable,
    /// The states behind it are NaN, as it is itself.
    States,
}

/// A task whose batch number `at` has its loss spoilt.
struct Spoilt {
    task: Box<dyn Task>,
    at: u64,
    spoil: Spoil,
    calls: u32,
}

impl Task for Spoilt {
    fn model(&self) -> &dyn ModelFiles {
        self.task.model()
    }
    fn data(&self) -> DataFacts {
        self.task.data()
    }
    fn rows(&self) -> usize {
        self.task.rows()
    }
    fn loss(&mut self, tape: &mut Tape, part: Part) -> Result<(Var, f64)> {
        let spoilt = self.task.place().position == self.at;
        let (loss, share) = self.task.loss(tape, part)?;
        self.calls += 1;
        Ok(match self.spoil {
            Spoil::Times(factor) if spoilt => (tape.scale(loss, factor)?, share),
            Spoil::States if spoilt => {
                let place = self.task.place();
                let poisoned = |(name, state): (String, Tensor)| {
                    let values = vec![f32::NAN; state.count()];
                    Ok((name, Tensor::from_f32(&state.device(), state.shape(), &values)?))
                };
                let states = place.states.into_iter().map(poisoned).collect::<Result<_>>()?;
                self.task.seek(&Place { states, ..place })?;
                (tape.scale(loss, f32::NAN)?, share)
            }
            Spoil::Unrepeatable if spoilt => (tape.scale(loss, 1.0 + 1e-6 * self.calls as f32)?, share),
            _ => (loss, share),
        })
    }
    fn outcome(&mut self, tape: &Tape) -> Result<Outcome> {
        self.task.outcome(tape)
    }
    fn validates(&self) -> bool {
        self.task.validates()
    }
    fn validate(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<f64>> {
        self.task.validate(stop)
    }
    fn place(&self) -> Place {
        self.task.place()
    }
    fn seek(&mut self, place: &Place) -> Result<()> {
        self.task.seek(place)
    }
}

fn text(steps: u64, change: impl Fn(&mut Config)) -> Config {
    settings(Experiment::Text, steps, |config| {
        (config.model.cell, config.model.dropout, config.model.layers) = (CellKind::Gru, 0.2, 2);
        config.train.checkpoint_every = 2;
        change(config);
    })
}

/// Trains, as a run or on with it. What was told.
fn session(
    device: &Device,
    path: &Path,
    config: &Config,
    spoil: Option<(u64, Spoil)>,
    change: impl Fn(&mut Hooks<'_>),
) -> (Result<Summary>, Vec<String>) {
    let (mut run, config) = match path.exists() {
        false => (Run::create(Some(path), "test", false).unwrap(), config.clone()),
        true => (Run::open(path).unwrap().0, config.clone()),
    };
    let mut config = config;
    let mut made = task(device, &mut config).unwrap();
    if let Some((at, spoil)) = spoil {
        made = Box::new(Spoilt { task: made, at, spoil, calls: 0 });
    }
    run.set_config(&config).unwrap();
    let notes = RefCell::new(Vec::new());
    let mut on_event = |event: Event| {
        match event {
            Event::Note(note) => notes.borrow_mut().push(note),
            Event::Verified { steps } => notes.borrow_mut().push(format!("verified {steps}")),
            Event::Skipped { step, skipped } => notes.borrow_mut().push(format!("skipped {step}: {skipped}")),
            _ => {}
        }
        Ok(())
    };
    let mut again =
        |device: &Device, config: &Config| -> Result<Box<dyn Task>> { task(device, &mut config.clone()) };
    let mut hooks = Hooks::new(&|| false, &mut on_event);
    change(&mut hooks);
    if hooks.auto_batch {
        hooks.remake = Some(&mut again);
    }
    let summary = train(device, &config, &mut *made, Some(&mut run), &mut hooks);
    (summary, notes.into_inner())
}

/// Batch 4 is that of step 5; an even step is saved before it.
#[test]
fn a_step_that_is_not_finite_is_named_and_leaves_nothing() {
    for device in common::devices() {
        for (factor, what) in [(f32::INFINITY, "the output of scale"), (1e25, "the norm of the gradient")] {
            let folder = scratch();
            let (good, run) = (folder.path().join("good"), folder.path().join("run"));
            session(&device, &good, &text(4, |_| {}), None, |_| {}).0.unwrap();
            let spoil = Some((4, Spoil::Times(factor)));
            let (failed, _) = session(&device, &run, &text(8, |_| {}), spoil, |_| {});
            let error = failed.unwrap_err();
            let told =
                format!("{what} is not finite (step 5; the state before it is saved; try a smaller --lr)");
            assert_eq!(error.to_string(), told);
            let (good, found) = (ended(&device, &good), ended(&device, &run));
            for (name, bytes) in &good.checkpoint {
                let same = found.checkpoint.get(name) == Some(bytes);
                assert!(same || name == "progress", "{name} is not that of step 4");
            }
            // With data that are not spoilt it goes on from there.
            let (on, _) = session(&device, &run, &text(8, |_| {}), None, |_| {});
            assert_eq!(on.unwrap().steps, 8);
            let whole = folder.path().join("whole");
            session(&device, &whole, &text(8, |_| {}), None, |_| {}).0.unwrap();
            let (whole, on) = (ended(&device, &whole), ended(&device, &run));
            for (name, bytes) in whole.checkpoint.iter().filter(|(name, _)| *name != "progress") {
                assert!(on.checkpoint.get(name) == Some(bytes), "{name}");
            }
        }
    }
}

#[test]
fn steps_that_are_not_finite_can_be_left_out() {
    let skip = |config: &mut Config| {
        (config.train.skip_nonfinite, config.train.validate_every) = (true, 1);
    };
    for device in common::devices() {
        for factor in [f32::NAN, 1e25] {
            let folder = scratch();
            let path = |name: &str| folder.path().join(name);
            let spoil = |at| Some((at, Spoil::Times(factor)));
            // The last step is left out: what there is then is what was there before.
            session(&device, &path("three"), &text(3, skip), None, |_| {}).0.unwrap();
            let (four, told) = session(&device, &path("four"), &text(4, skip), spoil(3), |_| {});
            assert_eq!((four.unwrap().skipped, told), (1, vec!["skipped 4: 1".to_string()]));
            let (three, four) = (ended(&device, &path("three")), ended(&device, &path("four")));
            let kept = |name: &&String| name.starts_with("model.") || name.starts_with("optimizer.");
            assert!(three.checkpoint.keys().filter(kept).count() > 20);
            for name in three.checkpoint.keys().filter(kept) {
                assert!(three.checkpoint[name] == four.checkpoint[name], "{name} was changed");
            }
            let rows = String::from_utf8(four.files["metrics.jsonl"].clone()).unwrap();
            assert_eq!(rows.contains("\"loss\":null"), factor.is_nan(), "{rows}");
            // Those behind it are done, and a run that goes on has the same bits.
            let whole = session(&device, &path("whole"), &text(9, skip), spoil(3), |_| {}).0.unwrap();
            assert_eq!((whole.steps, whole.skipped), (9, 1));
            let short = session(&device, &path("run"), &text(6, skip), spoil(3), |_| {}).0.unwrap();
            assert_eq!(short.skipped, 1);
            let on = session(&device, &path("run"), &text(9, skip), spoil(3), |_| {}).0.unwrap();
            assert_eq!((on.steps, on.skipped), (9, 1));
            let (run, whole) = (ended(&device, &path("run")), ended(&device, &path("whole")));
            assert_equal("after a step that was left out", &run, &whole);
        }
    }
}

/// What a step that is left out carried on to the next is left out with it.
#[test]
fn states_that_are_not_finite_are_left_out_too() {
    let folder = scratch();
    let skip = |config: &mut Config| config.train.skip_nonfinite = true;
    let path = |name: &str| folder.path().join(name);
    let spoil = Some((3, Spoil::States));
    let summary = session(&Device::cpu(), &path("run"), &text(12, skip), spoil, |_| {}).0.unwrap();
    assert_eq!((summary.steps, summary.skipped), (12, 1));
    // Checkpoints in between change no bit.
    let seldom = |config: &mut Config| {
        skip(config);
        config.train.checkpoint_every = 0;
    };
    session(&Device::cpu(), &path("seldom"), &text(12, seldom), spoil, |_| {}).0.unwrap();
    let [run, seldom] = ["run", "seldom"].map(|name| ended(&Device::cpu(), &path(name)));
    for (name, bytes) in run.checkpoint.iter().filter(|(name, _)| *name != "progress") {
        assert!(seldom.checkpoint.get(name) == Some(bytes), "{name}");
    }
    assert!(run.files["metrics.jsonl"] == seldom.files["metrics.jsonl"]);
}

#[test]
fn steps_made_twice_have_the_same_bits() {
    for device in common::devices() {
        let folder = scratch();
        let (once, twice) = (folder.path().join("once"), folder.path().join("twice"));
        session(&device, &once, &text(6, |_| {}), None, |_| {}).0.unwrap();
        let (summary, told) = session(&device, &twice, &text(6, |_| {}), None, |hooks| hooks.verify = 4);
        summary.unwrap();
        assert_eq!(told, ["verified 4"]);
        assert_equal("made twice", &ended(&device, &twice), &ended(&device, &once));
        let run = folder.path().join("run");
        let spoil = Some((2, Spoil::Unrepeatable));
        let (failed, _) = session(&device, &run, &text(6, |_| {}), spoil, |hooks| hooks.verify = 4);
        let Err(Error::Gpu(Fault::NotRepeatable { what, .. })) = failed else { panic!("{failed:?}") };
        assert_eq!(what, "the loss[0] of step 3");
    }
}

/// The parameters and losses after some steps of plain descent.
fn descended(device: &Device, config: &Config) -> Vec<f32> {
    let folder = scratch();
    let run = folder.path().join("run");
    let summary = session(device, &run, config, None, |_| {}).0.unwrap();
    let mut values = vec![summary.loss];
    for (name, bytes) in ended(device, &run).checkpoint {
        if name.starts_with("model.") || name.starts_with("carried.") && config.train.accumulate == 1 {
            values.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())));
        }
    }
    values
}

#[test]
fn a_batch_in_parts_is_the_same_step() {
    let plain = |config: &mut Config| {
        (config.train.optimizer, config.train.lr, config.model.dropout) = (OptimizerKind::Sgd, 0.5, 0.0);
        (config.train.validate_every, config.train.checkpoint_every) = (100, 0);
    };
    let series = |batch| {
        settings(Experiment::Timeseries, 7, |config| {
            plain(config);
            (config.train.batch, config.model.hidden, config.train.lr) = (batch, Some(4), 0.1);
        })
    };
    let texts = [CellKind::Rnn, CellKind::Lstm, CellKind::Gru].map(|cell| {
        text(7, |config| {
            plain(config);
            (config.model.cell, config.train.batch, config.train.sequence) = (cell, 5, 2);
        })
    });
    for device in common::devices() {
        for config in texts.iter().chain(&[series(0), series(200)]) {
            let whole = descended(&device, config);
            for parts in [2, 3, 5] {
                let mut config = config.clone();
                config.train.accumulate = parts;
                let got = descended(&device, &config);
                assert!(got.len() > 100 && got.len() <= whole.len());
                let mut changed = false;
                // Without the carried states, which lie in parts; names are in order.
                let expected = descended_model(&whole, got.len());
                for (got, expected) in got.iter().zip(expected) {
                    // Seven steps of sums in another order: some hundred roundings of numbers about 1.
                    assert!((got - expected).abs() <= 3e-5, "{parts} parts: {got}, not {expected}");
                    changed |= got != expected;
                }
                assert!(changed, "{parts} parts gave the very bits of the whole: it was not taken in parts");
            }
        }
    }
}

/// The loss and the model's numbers, which come last.
fn descended_model(whole: &[f32], len: usize) -> impl Iterator<Item = &f32> {
    whole[..1].iter().chain(&whole[whole.len() - (len - 1)..])
}

/// A run can change the number of parts when it goes on, and with the same number has the same bits.
#[test]
fn parts_and_resuming() {
    let device = Device::cpu();
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let parts = |steps, parts| {
        text(steps, |config| {
            (config.train.batch, config.train.sequence, config.train.accumulate) = (5, 2, parts);
        })
    };
    session(&device, &path("whole"), &parts(9, 2), None, |_| {}).0.unwrap();
    session(&device, &path("run"), &parts(4, 2), None, |_| {}).0.unwrap();
    session(&device, &path("run"), &parts(9, 2), None, |_| {}).0.unwrap();
    assert_equal("in parts", &ended(&device, &path("run")), &ended(&device, &path("whole")));
    for (number, later) in [1, 3, 5].into_iter().enumerate() {
        let run = path(&number.to_string());
        session(&device, &run, &parts(4, 2), None, |_| {}).0.unwrap();
        let summary = session(&device, &run, &parts(9, later), None, |_| {}).0.unwrap();
        assert!(summary.loss.is_finite() && summary.steps == 9);
    }
    let (refused, _) = session(&device, &path("refused"), &parts(4, 6), None, |_| {});
    assert_eq!(
        refused.unwrap_err().to_string(),
        "train: --accumulate 6: a batch can be taken in 5 parts at most"
    );
}

/// Where memory runs out a batch is taken in more parts, until a part is a row.
#[test]
fn memory_that_runs_out_makes_the_parts_smaller() {
    let cpu = Device::cpu();
    let short = Fault::OutOfMemory { device: "test".into(), wanted: 1, in_use: 2 };
    let in_parts = |parts| {
        text(6, |config| {
            (config.train.batch, config.train.accumulate, config.train.checkpoint_every) = (3, parts, 0);
        })
    };
    let (config, whole) = (in_parts(1), scratch());
    // It begins again where nothing has been saved: as if it had been taken in parts from the beginning.
    session(&cpu, &whole.path().join("run"), &in_parts(2), None, |_| {}).0.unwrap();
    let want = ended(&cpu, &whole.path().join("run"));
    let mut met = 0;
    for at in [60, 120, 180, 240] {
        let folder = scratch();
        let run = folder.path().join("run");
        let failing =
            |calls: &Arc<_>| cpu.failing(Failure { at, fault: short.clone(), calls: Arc::clone(calls) });
        let (refused, _) = session(&failing(&Arc::default()), &run, &config, None, |_| {});
        assert!(matches!(refused, Err(Error::Gpu(Fault::OutOfMemory { .. }))), "{refused:?}");
        let (done, told) =
            session(&failing(&Arc::default()), &run, &config, None, |hooks| hooks.auto_batch = true);
        assert_eq!(done.unwrap().steps, 6);
        assert_equal("in parts from then on", &ended(&cpu, &run), &want);
        assert!(
            told[0].contains("out of memory") && told[0].ends_with("taking a batch in 2 parts"),
            "{told:?}"
        );
        let settings = std::fs::read_to_string(run.join("config.toml")).unwrap();
        assert!(settings.contains("accumulate = 2"), "{settings}");
        met += 1;
    }
    assert_eq!(met, 4);
}
