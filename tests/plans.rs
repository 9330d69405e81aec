//! Plans that were found by measurement: every way of a training step gives the same result, and a device follows them.

mod common;

use bptt::device::{Device, GpuOptions};
use bptt::error::Result;
use bptt::plans::Plans;
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

#[test]
fn every_way_gives_the_same_result() {
    let device = open_gpu(&GpuOptions::default());
    let expected = lstm(&Device::cpu()).unwrap();
    let sites = device.record_plans(|| lstm(&device).map(drop)).unwrap();
    assert!(sites.keys().any(|site| site.kernel == "lstm_backward"), "{sites:?}");
    let mut tried = 0;
    for (site, seen) in &sites {
        assert!(seen.ways.contains(&seen.taken), "{site}: {seen:?}");
        for way in &seen.ways {
            device.set_plans(Plans::from([(site.to_string(), way.clone())]));
            let mut values = Vec::new();
            let again = device.record_plans(|| {
                values = lstm(&device)?;
                Ok(())
            });
            assert_eq!(again.unwrap()[site].taken, *way, "{site}");
            // Sums of at most 114 products of numbers of about 1: 4·sqrt(114)·2^-24 is 2.5e-6, and there are six steps.
            let difference = largest_difference(&values, &expected);
            assert!(difference <= 2e-5, "{site} by {way}: {difference}");
            tried += 1;
        }
    }
    assert!(tried >= sites.len() + 4, "there is little to choose from: {sites:?}");
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
