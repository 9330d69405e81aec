//! Trainings on devices that fail, at any call and in any way: nothing panics, the error says what it was, training can go on from
//! what was saved, and its end has the same bits as without the fault.

mod common;

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bptt::device::{Device, Failure, GpuOptions, Provoked};
use bptt::error::{Error, Fault, Result};
use bptt::nn::CellKind;
use bptt::train::{Config, Event, Experiment, Hooks, Run, Summary, Task, train};
use common::runs::{assert_equal, ended, scratch, settings, summary, task};

/// Begins a run, or goes on with it, as the command does; with `recover` faults are survived. What was told.
fn session(device: &Device, path: &Path, config: &Config, recover: bool) -> (Result<Summary>, Vec<String>) {
    let notes = RefCell::new(Vec::new());
    let summary = (|| {
        let (mut run, mut config) = match path.exists() {
            false => (Run::create(Some(path), "test", false)?, config.clone()),
            true => {
                let (run, file) = Run::open(path)?;
                (run, file.config)
            }
        };
        let mut made = task(device, &mut config)?;
        run.set_config(&config)?;
        let mut on_event = |event: Event| {
            if let Event::Note(note) = event {
                notes.borrow_mut().push(note);
            }
            Ok(())
        };
        let mut again =
            |device: &Device, config: &Config| -> Result<Box<dyn Task>> { task(device, &mut config.clone()) };
        let mut hooks = Hooks::new(&|| false, &mut on_event);
        if recover {
            hooks.remake = Some(&mut again);
        }
        train(device, &config, &mut *made, Some(&mut run), &mut hooks)
    })();
    (summary, notes.into_inner())
}

/// Three steps of a text with a checkpoint after each, or after none but the last.
fn three_steps(checkpoint_every: u64) -> Config {
    settings(Experiment::Text, 3, |config| {
        (config.model.cell, config.model.layers, config.model.dropout) = (CellKind::Gru, 2, 0.2);
        (config.train.batch, config.train.sequence, config.model.hidden) = (2, 3, Some(4));
        (config.train.validate_every, config.train.validate_chunks) = (2, 1);
        config.train.checkpoint_every = checkpoint_every;
    })
}

fn faults() -> [Fault; 7] {
    let test = || "a test".to_string();
    [
        Fault::Lost { message: test() },
        Fault::Silent { message: test() },
        Fault::OutOfMemory { device: test(), wanted: 1, in_use: 2 },
        Fault::Timeout { after: Duration::from_secs(1) },
        Fault::Mapping { message: test() },
        Fault::Refused { what: test(), message: test() },
        Fault::Invalid { what: test(), message: test() },
    ]
}

/// Every call of a training fails once, at each `each`-th (with BPTT_EVERY_FAULT at all) with a fault of every kind, at the
/// others with one of them.
fn check_every_call(device: &Device, config: &Config, each: u64) {
    let each = if std::env::var_os("BPTT_EVERY_FAULT").is_some() { 1 } else { each };
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let whole = session(device, &path("whole"), config, false).0.unwrap();
    let want = ended(device, &path("whole"));
    let compare = |what: &str, got: &Summary, run: &Path| {
        assert_eq!(summary(got), summary(&whole), "{what}");
        assert_equal(what, &ended(device, run), &want);
        std::fs::remove_dir_all(run).unwrap();
    };
    let (mut at, mut injected, run) = (0, 0, path("run"));
    loop {
        let kinds = faults();
        let chosen = if at % each == 0 { &kinds[..] } else { std::slice::from_ref(&kinds[at as usize % 7]) };
        for fault in chosen {
            let failing = |calls: &Arc<AtomicU64>| {
                device.failing(Failure { at, fault: fault.clone(), calls: calls.clone() })
            };
            let what = format!("call {at}, {fault}");
            let calls = Arc::new(AtomicU64::new(0));
            let (failed, _) = session(&failing(&calls), &run, config, false);
            if calls.load(Ordering::Relaxed) <= at {
                eprintln!("{injected} faults at {at} calls: all survived or told, none lost a bit");
                assert!(at > 200, "{at} calls in three steps");
                return compare("not reached", &failed.unwrap(), &run);
            }
            injected += 1;
            match failed {
                Err(Error::Gpu(told)) => assert_eq!(told.to_string(), fault.to_string(), "{what}"),
                other => panic!("{what}: {other:?}"),
            }
            // As a user would go on.
            let (resumed, _) = session(device, &run, config, false);
            compare(&what, &resumed.unwrap(), &run);
            // By itself, where that helps; the task is made before the training begins.
            let (survived, notes) = session(&failing(&Arc::default()), &run, config, true);
            match survived {
                Ok(survived) => {
                    assert!(fault.ends_device(), "{what} was not told");
                    assert!(
                        notes.iter().any(|note| note.contains("opening the device again")),
                        "{what}: {notes:?}"
                    );
                    compare(&what, &survived, &run);
                }
                Err(Error::Gpu(told)) => {
                    assert_eq!(told.to_string(), fault.to_string(), "{what}");
                    let in_task = at < calls_of_the_task(device, config);
                    assert!(in_task || !fault.ends_device(), "{what} was not survived");
                    let _ = std::fs::remove_dir_all(&run);
                }
                other => panic!("{what}: {other:?}"),
            }
        }
        at += 1;
    }
}

fn calls_of_the_task(device: &Device, config: &Config) -> u64 {
    let calls = Arc::new(AtomicU64::new(0));
    let never = Failure { at: u64::MAX, fault: Fault::Lost { message: String::new() }, calls: calls.clone() };
    task(&device.failing(never), &mut config.clone()).unwrap();
    calls.load(Ordering::Relaxed)
}

#[test]
fn every_call_can_fail_with_a_checkpoint_a_step() {
    check_every_call(&Device::cpu(), &three_steps(1), 25);
}

#[test]
fn every_call_can_fail_before_the_first_checkpoint() {
    check_every_call(&Device::cpu(), &three_steps(3), 100);
}

/// Real losses on a GPU: the device is destroyed, or the driver forgets a submission and says it was done.
#[test]
fn a_gpu_that_is_lost_is_opened_again() {
    let folder = scratch();
    let config = three_steps(1);
    let device = common::gpu();
    let whole = session(device, &folder.path().join("whole"), &config, false).0.unwrap();
    let want = ended(device, &folder.path().join("whole"));
    let mut reached = 0;
    for number in 0..12 {
        for provoked in [Provoked::LostDevice(number), Provoked::LostSubmission(number)] {
            let failing = common::open_gpu(&GpuOptions { provoke: Some(provoked), ..GpuOptions::default() });
            let run = folder.path().join("run");
            let (survived, notes) = session(&failing, &run, &config, true);
            let submits = failing.stats().submits;
            let survived = match survived {
                // While the task was made: nothing has begun.
                Err(Error::Gpu(fault)) if number == 0 => {
                    assert!(fault.ends_device(), "{fault}");
                    continue;
                }
                survived => survived.unwrap(),
            };
            assert_eq!(summary(&survived), summary(&whole), "{provoked:?}");
            assert_equal(&format!("{provoked:?}"), &ended(device, &run), &want);
            assert_eq!(!notes.is_empty(), submits > number, "{provoked:?}: {notes:?}");
            reached += u32::from(submits > number);
            std::fs::remove_dir_all(&run).unwrap();
        }
    }
    assert!(reached >= 8, "{reached} faults were met");
}

/// A device that fails again and again is not opened for ever.
#[test]
fn the_fourth_fault_in_an_hour_ends_the_training() {
    let folder = scratch();
    let cpu = Device::cpu();
    let made = RefCell::new(0);
    let mut config = three_steps(1);
    let run_path = folder.path().join("run");
    let mut run = Run::create(Some(&run_path), "test", false).unwrap();
    let lost = || Failure { at: 100, fault: Fault::Lost { message: "again".into() }, calls: Arc::default() };
    let first = cpu.failing(lost());
    let mut first_task = task(&first, &mut config).unwrap();
    run.set_config(&config).unwrap();
    // The task is on a device that fails although the training's own does not.
    let mut again = |device: &Device, config: &Config| {
        *made.borrow_mut() += 1;
        task(&device.failing(lost()), &mut config.clone())
    };
    let notes = RefCell::new(Vec::new());
    let mut on_event = |event: Event| {
        if let Event::Note(note) = event {
            notes.borrow_mut().push(note);
        }
        Ok(())
    };
    let mut hooks = Hooks { remake: Some(&mut again), ..Hooks::new(&|| false, &mut on_event) };
    let ended = train(&first, &three_steps(1), &mut *first_task, Some(&mut run), &mut hooks);
    assert!(matches!(ended, Err(Error::Gpu(Fault::Lost { .. }))), "{ended:?}");
    assert_eq!(*made.borrow(), 3);
    assert!(notes.borrow().last().unwrap().contains("more than 3 times within an hour"));
}
