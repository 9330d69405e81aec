//! Whole models against PyTorch's results: the cases of tests/conformance, on every device, and the judge itself.

mod common;

use std::path::{Path, PathBuf};

use bptt::device::Device;
use bptt::error::Error;
use bptt::parameters::Precision;
use bptt::verify::conform::{self, Results};
use common::devices;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cases");
    conform::cases(&folder).unwrap()
}

#[test]
fn all_cases_are_pytorchs() {
    assert_eq!(cases().len(), 60);
    for device in devices() {
        let mut wrong = Vec::new();
        for case in cases() {
            match conform::run(&device, &case, Precision::F32).and_then(|results| results.verdict()) {
                Ok(verdict) if verdict.passed() => assert!(verdict.share <= 1.0),
                other => wrong.push(format!("{}: {other:?}", case.display())),
            }
        }
        assert!(wrong.is_empty(), "{device:?}:\n{}", wrong.join("\n"));
    }
}

/// In half precision, within what is lost where numbers are stored: all cases on the CPU device, a sixth of them on the GPU.
#[test]
fn cases_in_half_precision_are_pytorchs() {
    let [cpu, gpu] = devices();
    let mut wrong = Vec::new();
    for precision in [Precision::F16, Precision::BF16] {
        for (device, every) in [(&cpu, 1), (&gpu, 6)] {
            for case in cases().iter().step_by(every) {
                match conform::run(device, case, precision).and_then(|results| results.verdict()) {
                    Ok(verdict) if verdict.passed() => assert!(verdict.share <= 1.0),
                    other => {
                        wrong.push(format!("{} in {precision:?} on {device:?}: {other:?}", case.display()))
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each result in half precision, off by little more than its limit, is found.
#[test]
fn a_wrong_result_in_half_precision_fails() {
    for (precision, off) in [(Precision::F16, 0.01), (Precision::BF16, 0.08)] {
        let keys: Vec<String> = first(precision).keys().map(String::from).collect();
        for key in keys {
            let name = key.strip_prefix("expect.").unwrap();
            let mut results = first(precision);
            let values = results.values_mut(&key).unwrap();
            // Parameters and their gradients are held to the size of all of them.
            match name.starts_with("param.") || name.starts_with("grad.") {
                false => values.iter_mut().for_each(|x| *x *= 1.0 + off),
                true => values[0] += 1.0,
            }
            let verdict = results.verdict().unwrap();
            assert!(!verdict.passed() && verdict.share > 1.0, "{key} in {precision:?}: {verdict:?}");
        }
    }
}

fn first(precision: Precision) -> Results {
    conform::run(&Device::cpu(), &cases()[0], precision).unwrap()
}

/// Each result of a case, when wrong or not a number, is found, and named.
#[test]
fn a_wrong_result_fails() {
    let keys: Vec<String> = first(Precision::F32).keys().map(String::from).collect();
    assert!(keys.len() > 5, "{keys:?}");
    for key in keys {
        let name = key.strip_prefix("expect.").unwrap();
        for wrong in [|x: f32| 1.01 * x + 0.01, |_| f32::NAN, |_| f32::INFINITY] {
            let mut results = first(Precision::F32);
            let value = results.values_mut(&key).unwrap().last_mut().unwrap();
            *value = wrong(*value);
            let verdict = results.verdict().unwrap();
            assert!(!verdict.passed() && verdict.share > 1.0, "{key}: {verdict:?}");
            assert_eq!(verdict.worst, name);
            assert!(verdict.disagreements[0].starts_with(name), "{verdict:?}");
        }
    }
}

/// A case that expects something else than PyTorch's result disagrees.
#[test]
fn a_wrong_expectation_fails() {
    let case = &cases()[0];
    let bytes = std::fs::read(case.join("tensors.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    // The last bytes of a tensor are its last value.
    let end = |key: &str| {
        let data = file.tensor(key).unwrap();
        data.data().as_ptr_range().end as usize - bytes.as_ptr() as usize
    };
    for key in
        ["expect.output", "expect.loss", "expect.grad.rnn.weight_hh_l0", "expect.param.rnn.weight_hh_l0"]
    {
        for wrong in [0.75, f32::NAN] {
            let folder = tempfile::tempdir().unwrap();
            let copy = folder.path().join(case.file_name().unwrap());
            std::fs::create_dir(&copy).unwrap();
            std::fs::copy(case.join("case.json"), copy.join("case.json")).unwrap();
            let mut changed = bytes.clone();
            let place = &mut changed[end(key) - 4..end(key)];
            let value = f32::from_le_bytes(place.try_into().unwrap());
            place.copy_from_slice(&(value + wrong).to_le_bytes());
            std::fs::write(copy.join("tensors.safetensors"), changed).unwrap();
            let verdict = conform::run(&Device::cpu(), &copy, Precision::F32).unwrap().verdict().unwrap();
            assert_eq!(Some(verdict.worst.as_str()), key.strip_prefix("expect."), "{verdict:?}");
            assert!(!verdict.passed(), "{verdict:?}");
        }
    }
}

/// A changed file may make another case; what it must not do is to panic. Every 13th bit, so that it is each bit of a
/// byte in turn.
#[test]
fn flipped_bits_are_errors() {
    let has_lengths = |case: &&PathBuf| {
        let json = std::fs::read_to_string(case.join("case.json")).unwrap();
        json.contains("\"lengths\": [")
            && json.contains("cross_entropy")
            && json.contains("\"initial_state\": true")
    };
    let all = cases();
    let case = all.iter().find(has_lengths).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join(case.file_name().unwrap());
    std::fs::create_dir(&copy).unwrap();
    let files =
        ["case.json", "tensors.safetensors"].map(|name| (name, std::fs::read(case.join(name)).unwrap()));
    for (name, whole) in &files {
        for (name, whole) in &files {
            std::fs::write(copy.join(name), whole).unwrap();
        }
        // The tensors' header, and the first of their values.
        for bit in (0..8 * whole.len().min(4096)).step_by(13) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(copy.join(name), flipped).unwrap();
            match conform::run(&Device::cpu(), &copy, Precision::F32).and_then(|results| results.verdict()) {
                Ok(_) | Err(Error::Data { .. } | Error::Argument { .. }) => {}
                Err(other) => panic!("bit {bit} of {name}: {other}"),
            }
        }
    }
}
