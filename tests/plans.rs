//! Plans that were found by measurement: every way to run the kernels of a training step gives the same result, and a device follows
//! the plans that it is given.

mod common;

use bptt::device::{Device, GpuOptions};
use bptt::error::Result;
use bptt::plans::{Plans, Seen, Site};
use bptt::prelude::*;
use common::open_gpu;

/// The output and the gradient of the recurrent weights of an LSTM over fixed numbers.
fn lstm(device: &Device) -> Result<Vec<f32>> {
    let mut init = Initializer::new(device, 3);
    let config = LstmConfig { input_size: 5, hidden_size: 36, ..LstmConfig::default() };
    let lstm = Lstm::new(&mut init, "lstm", &config)?;
    let parameters = init.build()?;
    let mut tape = Tape::new(&parameters);
    let x: Vec<f32> = (0..6 * 19 * 5).map(|i| (i as f32 * 0.37).sin()).collect();
    let x = tape.constant(&Tensor::from_f32(device, [6, 19, 5], &x)?);
    let states = lstm.forward(&mut tape, x, None)?;
    let cotangent: Vec<f32> = (0..6 * 19 * 36).map(|i| (i as f32 * 0.11).cos()).collect();
    tape.backward_from(states.output, &Tensor::from_f32(device, [6, 19, 36], &cotangent)?)?;
    let mut values = tape.value(states.output)?.to_vec()?;
    let w_hh = parameters.id("lstm.weight_hh_l0").expect("an LSTM has it");
    values.extend(parameters.gradient(w_hh)?.to_vec()?);
    Ok(values)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1.0, |most: f32, x| most.max(x.abs()));
    a.iter().zip(b).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs())) / scale
}

/// Of linear layers with few outputs, from one row and from many: the outputs, and the gradients of the weights, which are
/// sums over the rows, added up over two backward passes.
fn linear(device: &Device) -> Result<Vec<f32>> {
    let mut init = Initializer::new(device, 3);
    let mut layer = |name, in_features, out_features| {
        Linear::new(&mut init, name, &LinearConfig { in_features, out_features, bias: true })
    };
    let (long, short) = (layer("long", LONG, 12)?, layer("short", 8, 12)?);
    let parameters = init.build()?;
    let mut values = Vec::new();
    let mut tape = Tape::new(&parameters);
    for _ in 0..2 {
        tape.clear();
        for (layer, rows, columns) in [(&long, 1, LONG), (&short, LONG, 8)] {
            let x: Vec<f32> = (0..rows * columns).map(|i| (i as f32 * 0.37).sin()).collect();
            let x = tape.constant(&Tensor::from_f32(device, [rows, columns], &x)?);
            let y = layer.forward(&mut tape, x)?;
            let cotangent: Vec<f32> = (0..rows * 12).map(|i| (i as f32 * 0.11).cos()).collect();
            tape.backward_from(y, &Tensor::from_f32(device, [rows, 12], &cotangent)?)?;
            values.extend(tape.value(y)?.to_vec()?);
        }
    }
    for name in ["long.weight", "short.weight"] {
        values.extend(parameters.gradient(parameters.id(name).expect("it is a parameter"))?.to_vec()?);
    }
    Ok(values)
}

/// What the long sums of `linear` sum over.
const LONG: usize = 2000;

/// Runs every way of every site of a computation, and holds the values to the CPU's: the ways by their sites.
fn try_all(compute: fn(&Device) -> Result<Vec<f32>>, limit: f32) -> Vec<(Site, String)> {
    let device = open_gpu(&GpuOptions::default());
    let expected = compute(&Device::cpu()).unwrap();
    let sites = device.record_plans(|| compute(&device).map(drop)).unwrap();
    let mut tried = Vec::new();
    for (site, seen) in &sites {
        assert!(seen.ways.contains(&seen.taken), "{site}: {seen:?}");
        for way in &seen.ways {
            device.set_plans(Plans::from([(site.to_string(), way.clone())]));
            let mut values = Vec::new();
            let again = device.record_plans(|| {
                values = compute(&device)?;
                Ok(())
            });
            assert_eq!(again.unwrap()[site].taken, *way, "{site}");
            let difference = largest_difference(&values, &expected);
            assert!(difference <= limit, "{site} by {way}: {difference}");
            assert_eq!(compute(&device).unwrap(), values, "{site} by {way} again");
            tried.push((*site, way.clone()));
        }
    }
    assert!(tried.len() >= sites.len() + 4, "there is little to choose from: {sites:?}");
    tried
}

#[test]
fn every_way_gives_the_same_result() {
    // Sums of at most 114 products of numbers of about 1: 4·sqrt(114)·2^-24 is 2.5e-6, and there are six steps.
    let tried = try_all(lstm, 2e-5);
    assert!(tried.iter().any(|(site, _)| site.kernel == "lstm_backward"), "{tried:?}");
}

#[test]
fn sums_in_parts_give_the_same_result() {
    // 4·sqrt(K)·2^-24·Σ|ab| for K = LONG products of numbers of at most 1, two sums.
    let limit = 2.0 * 4.0 * (LONG as f32).sqrt() * 0.5f32.powi(24) * LONG as f32;
    let tried = try_all(linear, limit);
    // Of a weight's gradient that is added to, too.
    for accumulate in [0, 1] {
        let in_parts = |(site, way): &(Site, String)| {
            site.kernel == "matmul" && site.shape[3] & 1 == accumulate && way.ends_with(" parts")
        };
        assert!(tried.iter().any(in_parts), "{tried:?}");
    }
    assert!(tried.iter().any(|(_, way)| way.starts_with("few rows")), "{tried:?}");
    assert!(tried.iter().any(|(_, way)| way.starts_with("few columns")), "{tried:?}");
}

#[test]
fn parts_of_sums_need_no_new_memory_from_step_to_step() {
    let device = open_gpu(&GpuOptions::default());
    let sites = device.record_plans(|| linear(&device).map(drop)).unwrap();
    let in_parts = |seen: &Seen| seen.ways.iter().rfind(|way| way.ends_with(" parts")).cloned();
    let plans = sites.iter().filter_map(|(site, seen)| Some((site.to_string(), in_parts(seen)?)));
    device.set_plans(plans.collect());
    let [x, w, bias] = [([1, LONG].as_slice(), LONG), (&[12, LONG], 12 * LONG), (&[12], 12)]
        .map(|(shape, count)| Tensor::from_f32(&device, shape, &vec![0.5; count]).unwrap());
    let mut tape = Tape::without_parameters(&device);
    let mut step = || {
        tape.clear();
        let [x, w, bias] = [&x, &w, &bias].map(|tensor| tape.constant(tensor));
        tape.linear(x, w, Some(bias)).unwrap();
        device.submit().unwrap();
        device.stats()
    };
    step();
    let [before, after] = [step(), step()];
    assert_eq!(after.dispatches - before.dispatches, 2, "a product in parts and their sum");
    assert_eq!(
        (after.buffers_created, after.bind_groups_created, after.pipelines_created),
        (before.buffers_created, before.bind_groups_created, before.pipelines_created)
    );
}

#[test]
fn what_a_device_cannot_do_is_passed_over() {
    let device = open_gpu(&GpuOptions { default_limits: true, ..GpuOptions::default() });
    let expected = lstm(&device).unwrap();
    let sites = device.record_plans(|| lstm(&device).map(drop)).unwrap();
    let plans = sites.keys().map(|site| (site.to_string(), "lanes of four, sequence".to_string()));
    device.set_plans(plans.chain([("no kernel".into(), "no way".into())]).collect());
    let again = device.record_plans(|| {
        assert_eq!(lstm(&device)?, expected);
        Ok(())
    });
    assert_eq!(again.unwrap(), sites);
    // On the CPU there is one way.
    let cpu = Device::cpu();
    cpu.set_plans(Plans::from([("matmul".into(), "tile 64".into())]));
    assert_eq!(cpu.plans(), Plans::new());
}
