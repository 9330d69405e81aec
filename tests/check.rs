//! The suite of checks that `bptt check` runs: correct devices pass, and what is wrong with others is found and named.

mod common;

use std::cell::Cell;

use bptt::device::{Device, Sabotage, Wrong};
use bptt::error::{Error, Fault, Result};
use bptt::kernel::Plan;
use bptt::parameters::Precision;
use bptt::verify::suite::{Finding, Item, OFF, Options, Suite, Trial, named};
use bptt::verify::{Row, TABLE, check};

fn sabotage(kernel: &'static str, wrong: Wrong) -> Sabotage {
    Sabotage { kernels: vec![kernel], wrong }
}

fn suite(device: &'static str, sabotage: Option<Sabotage>) -> Suite {
    let options = Options { full: false, sabotage };
    Suite::new(move || Device::named(device), options)
        .unwrap_or_else(|error| panic!("{error}\nscripts/test installs a software adapter"))
}

fn kernel(name: &str) -> &'static Row {
    TABLE.iter().find(|row| row.kernel.name == name).expect("a kernel of the table")
}

/// Sabotages a kernel: it is found to be wrong in each of its variants and in each precision, and the case that is named shows
/// it again.
fn is_found(device: &'static str, row: &'static Row) {
    let mut suite = suite(device, Some(sabotage(row.kernel.name, Wrong::Off(OFF))));
    let Finding { trials, .. } = suite.check(Item::Kernel(row)).unwrap();
    for trial in trials {
        let (of, precision) = (&trial.of, trial.precision);
        let failure =
            trial.failure.unwrap_or_else(|| panic!("{row:?} off by {OFF} passes as {of} in {precision:?}"));
        assert!(trial.worst > 1.0 && failure.message.starts_with(row.kernel.name), "{failure:?}");
        if trial.on == "device" {
            let case = row.case(failure.seed, failure.size.unwrap()).stored(trial.precision.dtype());
            let of = |plan: &&Plan| {
                let named = row.kernel.variants[plan.variant].name == trial.of || trial.of == "twin";
                named && Some(plan.grid) == failure.grid
            };
            let plan = case.plans.iter().find(of).unwrap();
            assert!(!check(suite.device(), &case, plan).unwrap().passed(), "{row:?}, {case:?}");
        }
    }
}

#[test]
fn every_kernel_is_found_that_is_wrong_on_the_cpu() {
    TABLE.iter().for_each(|row| is_found("cpu", row));
}

#[test]
fn ten_kernels_are_found_that_are_wrong_on_the_gpu() {
    for name in [
        "copy",
        "sigmoid",
        "matmul",
        "max_dim",
        "softmax",
        "lstm_forward",
        "gru_backward",
        "cross_entropy",
        "clip_gradients",
        "adam",
    ] {
        is_found("gpu", kernel(name));
    }
}

/// What is found of all kernels but one.
#[test]
fn nothing_else_is_found() {
    let mut suite = suite("cpu", Some(sabotage("softmax", Wrong::Off(OFF))));
    for row in TABLE {
        let finding = suite.check(Item::Kernel(row)).unwrap();
        assert_eq!(finding.passed(), row.kernel.name != "softmax", "{finding:?}");
    }
}

#[test]
fn a_kernel_that_does_not_repeat_itself_is_found() {
    for device in ["cpu", "gpu"] {
        // Of two roundings at most, which the limits of a product of ordinary numbers allow.
        let mut suite = suite(device, Some(sabotage("matmul", Wrong::Unsteady(f32::EPSILON))));
        let finding = suite.check(Item::Kernel(kernel("matmul"))).unwrap();
        assert!(finding.trials.iter().all(|trial| trial.failure.is_some()), "{finding:?}");
        let mut messages = finding.trials.iter().flat_map(|trial| &trial.failure).map(|f| &f.message);
        assert!(messages.any(|message| message.starts_with("two launches differ: matmul (")), "{finding:?}");
        let finding = suite.check(Item::Repeatability).unwrap();
        assert!(!finding.passed(), "{finding:?}");
    }
}

#[test]
fn wrong_kernels_show_in_gradients_and_in_learning() {
    for (item, name, wrong) in [
        (Item::Gradients, "lstm_backward", Wrong::Off(OFF)),
        // Over several steps the limits are wider.
        (Item::Schedules, "gru_forward", Wrong::Off(1e3 * OFF)),
        (Item::Learning, "adam", Wrong::Off(100.0)),
        (Item::Conversions, "cast", Wrong::Off(OFF)),
    ] {
        for device in ["cpu", "gpu"] {
            let finding = suite(device, Some(sabotage(name, wrong))).check(item).unwrap();
            assert!(!finding.passed(), "{item:?} passes on {device} with a wrong {name}");
            let reference = |trial: &&Trial| trial.on == "finite differences";
            assert!(finding.trials.iter().filter(reference).all(|trial| trial.failure.is_none()));
        }
    }
}

/// Every item that holds in half precision says so, and finds what is wrong in it.
#[test]
fn what_is_wrong_in_half_precision_is_named() {
    for item in [Item::Gradients, Item::Repeatability, Item::Learning] {
        // More than all that rounding does in half precision.
        let wrong = match item {
            Item::Repeatability => sabotage("matmul", Wrong::Unsteady(0.1)),
            Item::Learning => sabotage("adam", Wrong::Off(100.0)),
            _ => sabotage("lstm_forward", Wrong::Off(10.0)),
        };
        let finding = suite("cpu", Some(wrong)).check(item).unwrap();
        for precision in [Precision::F32, Precision::F16] {
            let failed = |trial: &&Trial| trial.precision == precision && trial.failure.is_some();
            assert!(finding.trials.iter().any(|trial| failed(&trial)), "{precision:?}: {finding:?}");
        }
    }
}

/// A kernel at which the device is lost is named, and the next one is checked on a new device.
#[test]
fn a_lost_device_is_the_kernels_that_lost_it() {
    for device in ["cpu", "gpu"] {
        let mut suite = suite(device, Some(sabotage("fill", Wrong::Lost)));
        let finding = suite.check(Item::Kernel(kernel("fill"))).unwrap();
        for trial in finding.trials {
            let failure = trial.failure.unwrap();
            assert!(failure.message.contains("lost (on purpose)") && failure.message.contains("Fill {"));
            assert_eq!((trial.cases, trial.failed), (1, 1));
        }
        assert!(suite.check(Item::Kernel(kernel("copy"))).unwrap().passed());
        // Outside of a kernel's own check a fault ends the suite.
        assert!(matches!(suite.check(Item::Learning), Err(Error::Gpu { .. })));
    }
    // Where there is no new device, the fault ends it too.
    let opened = Cell::new(0);
    let open = move || -> Result<Device> {
        opened.set(opened.get() + 1);
        if opened.get() == 1 {
            Ok(Device::cpu())
        } else {
            Err(Error::Gpu(Fault::Lost { message: "it is gone".into() }))
        }
    };
    let options = Options { full: false, sabotage: Some(sabotage("fill", Wrong::Lost)) };
    let error = Suite::new(open, options).unwrap().check(Item::Kernel(kernel("fill"))).unwrap_err();
    assert!(error.to_string().contains("lost (on purpose)"), "{error}");
}

#[test]
fn names_are_found_by_how_they_begin() {
    let names: Vec<_> = Item::all().map(Item::name).collect();
    assert_eq!(named("softmax", &names).unwrap(), ["softmax"]);
    assert_eq!(named("softm", &names).unwrap(), ["softmax", "softmax_backward"]);
    assert_eq!(named("learn", &names).unwrap(), ["learning"]);
    for (asked, says) in [
        ("matmull", "did you mean matmul?"),
        ("lstm_foward", "did you mean lstm_forward?"),
        ("nosuch", "there are binary, unary, "),
        ("", "there are binary, unary, "),
    ] {
        let error = named(asked, &names).unwrap_err().to_string();
        assert!(error.contains(&format!("begins with '{asked}'; {says}")), "{error}");
    }
}
