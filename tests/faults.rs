//! Faults of devices: each is reported, nothing panics, and a device that is opened again works.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bptt::cpu::scale::{SCALE, Scale};
use bptt::device::{Device, Failure, GpuOptions, Provoked};
use bptt::error::{Error, Fault, Result};
use bptt::kernel::{Dtype, Plan};
use bptt::tape::Tape;
use bptt::tensor::Tensor;
use common::{open_gpu, own_devices};

/// 2·x, computed on the device in a submission of its own.
fn doubled(x: &Tensor) -> Result<Vec<f32>> {
    let y = Tensor::empty(&x.device(), Dtype::F32, x.shape())?;
    let params = Scale { count: x.count() as u32, factor: 2.0 };
    x.device().launch(&Plan::elements(&SCALE, x.count()), &params, &[x.read(), y.write()])?;
    x.device().submit()?;
    y.to_vec()
}

#[track_caller]
fn fault<T: std::fmt::Debug>(result: Result<T>) -> Fault {
    match result {
        Err(Error::Gpu(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

fn provoking(provoke: Provoked) -> Device {
    open_gpu(&GpuOptions { provoke: Some(provoke), ..GpuOptions::default() })
}

/// After a fault that ended a device.
fn check_that_it_has_ended(device: &Device, x: &Tensor) {
    for _ in 0..3 {
        assert!(fault(doubled(x)).ends_device(), "it goes on");
    }
    let again = device.reopen().unwrap();
    assert_eq!(again.info(), device.info());
    let fresh = Tensor::from_f32(&again, [3], &[1.0, 2.0, 3.0]).unwrap();
    assert_eq!(doubled(&fresh).unwrap(), [2.0, 4.0, 6.0]);
    // What was on the device that is lost cannot slip in.
    let y = Tensor::empty(&again, Dtype::F32, [3]).unwrap();
    let params = Scale { count: 3, factor: 1.0 };
    let stale = again.launch(&Plan::elements(&SCALE, 3), &params, &[x.read(), y.write()]).unwrap_err();
    assert!(stale.to_string().contains("as it was opened another time"), "{stale}");
}

/// A driver that reports work as done which it has given up: whichever submission it was, no result comes of it.
#[test]
fn work_that_was_not_done_is_noticed() {
    for lost in 0..70 {
        let device = provoking(Provoked::LostSubmission(lost));
        let x = Tensor::from_f32(&device, [3], &[1.0, 2.0, 3.0]).unwrap();
        for round in 0.. {
            match doubled(&x) {
                Ok(values) => assert_eq!(values, [2.0, 4.0, 6.0], "submission {lost}, round {round}"),
                Err(Error::Gpu(Fault::Silent { message })) => {
                    assert!(message.contains("is missing"), "{message}");
                    break;
                }
                other => panic!("{other:?}"),
            }
            assert!(round < 70, "submission {lost} is not missed");
        }
        if lost % 23 == 0 {
            check_that_it_has_ended(&device, &x);
        }
    }
}

#[test]
fn a_lost_device_is_told() {
    for lost in 0..6 {
        let device = provoking(Provoked::LostDevice(lost));
        let x = Tensor::from_f32(&device, [3], &[1.0, 2.0, 3.0]).unwrap();
        let results: Vec<_> = (0..6).map(|_| doubled(&x)).collect();
        let first = results.iter().position(Result::is_err).unwrap_or_else(|| panic!("{lost}: {results:?}"));
        assert!(matches!(&results[first], Err(Error::Gpu(Fault::Lost { .. }))), "{results:?}");
        assert!(results[first..].iter().all(Result::is_err));
        check_that_it_has_ended(&device, &x);
    }
}

#[test]
fn a_device_that_hangs_is_given_up() {
    let device = open_gpu(&GpuOptions { patience: Some(Duration::ZERO), ..GpuOptions::default() });
    let x = Tensor::uniform(&device, [512, 512], [-1.0, 1.0], 1, 0).unwrap();
    let mut tape = Tape::without_parameters(&device);
    let mut product = tape.constant(&x);
    for _ in 0..20 {
        product = tape.matmul(product, product).unwrap();
    }
    let result = tape.value(product).unwrap().to_vec();
    assert!(matches!(fault(result), Fault::Timeout { after: Duration::ZERO }));
    let patient = open_gpu(&GpuOptions::default());
    check_that_it_has_ended(&patient, &x);
}

/// Each call of a computation fails once, with each kind of fault: the error is that fault, and nothing panics.
#[test]
fn every_call_can_fail() {
    let faults = [
        Fault::OutOfMemory { device: "test".into(), wanted: 1, in_use: 2 },
        Fault::Lost { message: "test".into() },
        Fault::Timeout { after: Duration::from_secs(1) },
        Fault::Silent { message: "test".into() },
        Fault::Mapping { message: "test".into() },
        Fault::Refused { what: "test".into(), message: "test".into() },
        Fault::Invalid { what: "test".into(), message: "test".into() },
    ];
    for device in own_devices() {
        let compute = |device: &Device| {
            let x = Tensor::from_f32(device, [3], &[1.0, 2.0, 3.0])?;
            doubled(&x)
        };
        for injected in &faults {
            for at in 0.. {
                let calls = Arc::new(AtomicU64::new(0));
                let failing = device.failing(Failure { at, fault: injected.clone(), calls: calls.clone() });
                let result = compute(&failing);
                if calls.load(Ordering::Relaxed) <= at {
                    assert!(
                        at >= 6,
                        "memory twice, an upload, a launch, a submission, a copy, waiting: {at}"
                    );
                    assert_eq!(result.unwrap(), [2.0, 4.0, 6.0]);
                    break;
                }
                assert_eq!(fault(result).to_string(), injected.to_string());
                let next = compute(&failing);
                match injected.ends_device() {
                    true => assert_eq!(fault(next).to_string(), injected.to_string()),
                    false => assert_eq!(next.unwrap(), [2.0, 4.0, 6.0]),
                }
                assert_eq!(compute(&failing.reopen().unwrap()).unwrap(), [2.0, 4.0, 6.0]);
            }
        }
    }
}

/// Memory that runs out is an error that says how much was wanted and is in use; what was only kept for reuse has been
/// given up before.
#[test]
fn memory_that_runs_out_is_told() {
    let device = open_gpu(&GpuOptions { memory_budget: Some(1), ..GpuOptions::default() });
    let mut tensors = Vec::new();
    let mut told = None;
    // A hundredth of what this machine can have is reached before 8 GB.
    for _ in 0..128 {
        match Tensor::empty(&device, Dtype::F32, [16 << 20]) {
            Ok(tensor) => tensors.push(tensor),
            Err(error) => {
                told = Some(fault::<()>(Err(error)));
                break;
            }
        }
    }
    match told {
        Some(Fault::OutOfMemory { wanted, in_use, .. }) => {
            eprintln!("the driver tells its memory: out of memory after {in_use} bytes");
            assert_eq!(wanted, 64 << 20);
            assert_eq!(in_use, tensors.len() as u64 * wanted);
            // What is given back can be had again.
            if tensors.pop().is_some() {
                Tensor::empty(&device, Dtype::F32, [16 << 20]).unwrap();
            }
        }
        Some(other) => panic!("{other:?}"),
        None => eprintln!("the driver does not tell its memory: no budget is kept ({})", device.info()),
    }
}
