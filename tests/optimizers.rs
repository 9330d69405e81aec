//! Optimizers and clipping against PyTorch's results (see tests/pytorch/README.md, `optimizers`), their state, and
//! their bad options.

mod common;

use std::collections::BTreeMap;

use bptt::device::Host;
use bptt::optim::{Adagrad, AdagradConfig, AdamW, AdamWConfig, ParamGroup, Rmsprop, RmspropConfig};
use bptt::parameters::ParameterId;
use bptt::prelude::*;
use common::{Stored, assert_conforms, devices, stored};

/// The size of the first of the two parameters of a case with groups.
const FIRST: usize = 20;

/// A model of vectors of parameters `x0`, `x1`, .., whose gradients a test chooses.
fn vectors(device: &Device, values: &[&[f32]]) -> Parameters {
    let mut init = Initializer::new(device, 0);
    for (k, values) in values.iter().enumerate() {
        init.uniform(format!("x{k}"), [values.len()], 1.0);
    }
    let parameters = init.build().unwrap();
    for (k, values) in values.iter().enumerate() {
        parameters.set(&format!("x{k}"), Host::F32(values)).unwrap();
    }
    parameters
}

fn ids(parameters: &Parameters) -> Vec<ParameterId> {
    parameters.names().map(|(name, _)| parameters.id(name).unwrap()).collect()
}

/// Makes `gradient` the gradient of all vectors together.
fn backpropagate(parameters: &Parameters, gradient: &[f32]) {
    parameters.zero_grad();
    let mut rest = gradient;
    for id in ids(parameters) {
        let mut tape = Tape::new(parameters);
        let x = tape.parameter(id).unwrap();
        let (own, others) = rest.split_at(tape.value(x).unwrap().count());
        let cotangent = Tensor::from_f32(parameters.device(), [own.len()], own).unwrap();
        // The gradient of a product with 1 is the cotangent itself.
        let same = tape.scale(x, 1.0).unwrap();
        tape.backward_from(same, &cotangent).unwrap();
        rest = others;
    }
}

fn values(parameters: &Parameters) -> Vec<f32> {
    parameters.to_host().unwrap().into_iter().flat_map(|(.., values)| values).collect()
}

/// The optimizer of a case.
fn optimizer(case: &str, tensors: &BTreeMap<String, Stored>, parameters: &Parameters) -> Box<dyn Optimizer> {
    let given = |part: &str, key: &str| {
        let stored = tensors.get(&format!("{case}.{part}.{key}"));
        // Stored as f32: seven digits are what was meant.
        stored.map(|stored| (stored.values[0] * 1e7).round() / 1e7)
    };
    let option = |key: &str, default: f64| given("option", key).unwrap_or(default);
    let on = |key: &str| option(key, 0.0) == 1.0;
    let (lr, weight_decay) = (option("lr", f64::NAN), option("weight_decay", 0.0));
    let groups: Vec<ParamGroup> = ids(parameters)[1..]
        .iter()
        .map(|id| ParamGroup {
            parameters: vec![*id],
            lr: given("group", "lr"),
            weight_decay: given("group", "weight_decay"),
        })
        .collect();
    let betas = [option("beta1", 0.9), option("beta2", 0.999)];
    match case.split('-').next().unwrap() {
        "sgd" => {
            let (momentum, dampening, nesterov) =
                (option("momentum", 0.0), option("dampening", 0.0), on("nesterov"));
            let config = SgdConfig { lr, momentum, dampening, weight_decay, nesterov };
            Box::new(Sgd::with_groups(parameters, config, &groups).unwrap())
        }
        "adam" => {
            let config =
                AdamConfig { lr, betas, eps: option("eps", 1e-8), weight_decay, amsgrad: on("amsgrad") };
            Box::new(Adam::with_groups(parameters, config, &groups).unwrap())
        }
        "adamw" => {
            let weight_decay = option("weight_decay", AdamWConfig::default().weight_decay);
            let config =
                AdamWConfig { lr, betas, eps: option("eps", 1e-8), weight_decay, amsgrad: on("amsgrad") };
            Box::new(AdamW::with_groups(parameters, config, &groups).unwrap())
        }
        "rmsprop" => {
            let config = RmspropConfig {
                lr,
                alpha: option("alpha", 0.99),
                eps: option("eps", 1e-8),
                weight_decay,
                momentum: option("momentum", 0.0),
                centered: on("centered"),
            };
            Box::new(Rmsprop::with_groups(parameters, config, &groups).unwrap())
        }
        "adagrad" => {
            let config = AdagradConfig {
                lr,
                lr_decay: option("lr_decay", 0.0),
                weight_decay,
                initial_accumulator_value: option("initial_accumulator_value", 0.0),
                eps: option("eps", 1e-10),
            };
            Box::new(Adagrad::with_groups(parameters, config, &groups).unwrap())
        }
        other => panic!("{other} is no optimizer of the file"),
    }
}

/// The cases, and the parameters and gradients of one.
fn cases(tensors: &BTreeMap<String, Stored>) -> Vec<&str> {
    tensors.keys().filter_map(|key| key.strip_suffix(".param")).collect()
}

fn parameters_of(device: &Device, case: &str, tensors: &BTreeMap<String, Stored>) -> Parameters {
    let start = tensors[&format!("{case}.param")].f32();
    let cut = if case.ends_with("groups") { FIRST } else { start.len() };
    let (first, second) = start.split_at(cut);
    if second.is_empty() { vectors(device, &[first]) } else { vectors(device, &[first, second]) }
}

/// 20 steps for each set of options. Limits: PyTorch's own f32 differs from its f64 by 1e-6, up to 2e-4 relative where a
/// parameter passes near 0; a factor of ten for another order of operations.
#[test]
fn optimizers_are_pytorchs() {
    let tensors = stored("optimizers");
    let cases = cases(&tensors);
    assert_eq!(cases.len(), 28, "{cases:?}");
    for device in devices() {
        for case in &cases {
            let parameters = parameters_of(&device, case, &tensors);
            let mut optimizer = optimizer(case, &tensors, &parameters);
            let gradients = tensors[&format!("{case}.grads")].f32();
            let expected = &tensors[&format!("{case}.expect")].values;
            for step in 0..20 {
                backpropagate(&parameters, &gradients[step * 37..][..37]);
                optimizer.step(None).unwrap();
                for (i, (got, want)) in values(&parameters).iter().zip(&expected[step * 37..]).enumerate() {
                    let error = (f64::from(*got) - want).abs();
                    let limit = 1e-5 * want.abs() + 1e-5;
                    assert!(
                        error <= limit,
                        "{device:?} {case} step {step} element {i}: {got}, PyTorch's {want}"
                    );
                }
            }
        }
    }
}

/// Saved after 7 steps and restored in a fresh optimizer, the next 5 give the same bits.
#[test]
fn a_restored_optimizer_goes_on_as_if_nothing_had_happened() {
    let tensors = stored("optimizers");
    for device in devices() {
        for case in cases(&tensors) {
            let parameters = parameters_of(&device, case, &tensors);
            let gradients = tensors[&format!("{case}.grads")].f32();
            let step = |optimizer: &mut dyn Optimizer, step: usize| {
                backpropagate(optimizer.parameters(), &gradients[step * 37..][..37]);
                optimizer.step(None).unwrap();
            };
            let mut first = optimizer(case, &tensors, &parameters);
            (0..7).for_each(|k| step(&mut *first, k));
            let (state, at) = (first.state().unwrap(), values(&parameters));
            (7..12).for_each(|k| step(&mut *first, k));
            let expected = values(&parameters);

            let parameters = parameters_of(&device, case, &tensors);
            let mut rest = &at[..];
            for (name, shape) in parameters.names() {
                let (own, others) = rest.split_at(shape.count());
                parameters.set(name, Host::F32(own)).unwrap();
                rest = others;
            }
            let mut second = optimizer(case, &tensors, &parameters);
            second.load_state(&state).unwrap();
            assert_eq!(second.control().state().unwrap().steps, 7);
            (7..12).for_each(|k| step(&mut *second, k));
            assert_eq!(values(&parameters), expected, "{device:?} {case}");
        }
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused_whole() {
    let device = Device::cpu();
    let parameters = vectors(&device, &[&[1.0, 2.0], &[3.0]]);
    let mut adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
    backpropagate(&parameters, &[1.0; 3]);
    adam.step(None).unwrap();
    let before = adam.state().unwrap();
    let mut wrong = before.clone();
    wrong.retain(|(name, ..)| name != "exp_avg.x1");
    wrong.push(("sum.x0".into(), Shape::from([2]), vec![0.0; 2]));
    let at = wrong.iter().position(|(name, ..)| name == "exp_avg_sq.x0").unwrap();
    wrong[at].1 = Shape::from([1]);
    wrong[at].2 = vec![9.0];
    let message = adam.load_state(&wrong).unwrap_err().to_string();
    for fragment in ["'exp_avg.x1' is missing", "'sum.x0' is unknown", "'exp_avg_sq.x0' must be [2], got [1]"]
    {
        assert!(message.contains(fragment), "\"{message}\" does not say {fragment}");
    }
    let mut wrong = before.clone();
    wrong.push(wrong[1].clone());
    wrong[0].2 = vec![f32::NAN];
    let message = adam.load_state(&wrong).unwrap_err().to_string();
    for fragment in ["'step' must be a whole number", "NaN", "'exp_avg.x0' is there twice"] {
        assert!(message.contains(fragment), "\"{message}\" does not say {fragment}");
    }
    assert_eq!(adam.state().unwrap(), before);
}

/// Without groups a step is two launches; neighbours with equal settings share one.
#[test]
fn a_run_of_parameters_is_one_launch() {
    let device = Device::cpu();
    let parameters = vectors(&device, &[&[1.0; 70], &[2.0], &[3.0; 3], &[4.0]]);
    let all = ids(&parameters);
    let launches = |optimizer: &mut dyn Optimizer| {
        backpropagate(&parameters, &[0.5; 75]);
        let before = device.stats().dispatches;
        optimizer.step(None).unwrap();
        device.stats().dispatches - before
    };
    let mut plain = Adam::new(&parameters, AdamConfig::default()).unwrap();
    assert_eq!(launches(&mut plain), 2);
    let group =
        ParamGroup { parameters: vec![all[2], all[1]], weight_decay: Some(0.1), ..Default::default() };
    let mut grouped = Adam::with_groups(&parameters, AdamConfig::default(), &[group]).unwrap();
    assert_eq!(launches(&mut grouped), 4);
}

/// A schedule's rate reaches every group by the ratio that it began with.
#[test]
fn groups_keep_the_ratio_of_their_learning_rates() {
    let device = Device::cpu();
    let parameters = vectors(&device, &[&[0.0], &[0.0]]);
    let group = ParamGroup { parameters: vec![ids(&parameters)[1]], lr: Some(0.5), weight_decay: None };
    let config = SgdConfig { lr: 0.25, ..SgdConfig::default() };
    let mut sgd = Sgd::with_groups(&parameters, config, &[group]).unwrap();
    backpropagate(&parameters, &[1.0, 1.0]);
    sgd.step(None).unwrap();
    assert_eq!(values(&parameters), [-0.25, -0.5]);
    sgd.set_lr(0.125).unwrap();
    for wrong in [f64::NAN, -1.0, f64::INFINITY] {
        assert!(sgd.set_lr(wrong).unwrap_err().to_string().contains("Sgd: lr must be at least 0"));
    }
    assert_eq!(sgd.lr(), 0.125);
    sgd.step(None).unwrap();
    assert_eq!(values(&parameters), [-0.375, -0.75]);
}

#[test]
fn options_that_contradict_are_refused() {
    let device = Device::cpu();
    let parameters = vectors(&device, &[&[1.0], &[1.0]]);
    let id = ids(&parameters)[0];
    let other = ids(&vectors(&device, &[&[1.0]]))[0];
    let refused = |what: &str, result: Result<()>, fragments: &[&str]| {
        let message = result.expect_err(what).to_string();
        for fragment in fragments {
            assert!(message.contains(fragment), "{what}: \"{message}\" does not say {fragment}");
        }
    };
    let rmsprop = |config| Rmsprop::new(&parameters, config).map(|_| ());
    let adagrad = |config| Adagrad::new(&parameters, config).map(|_| ());
    let adamw = |config| AdamW::new(&parameters, config).map(|_| ());
    let sgd = |config| Sgd::new(&parameters, config).map(|_| ());
    let grouped =
        |groups: &[ParamGroup]| Adam::with_groups(&parameters, AdamConfig::default(), groups).map(|_| ());
    let group = |parameters: Vec<ParameterId>| ParamGroup { parameters, ..ParamGroup::default() };
    let (r, a) = (RmspropConfig::default(), AdagradConfig::default());
    for (what, result, fragments) in [
        ("alpha", rmsprop(RmspropConfig { alpha: 1.0, ..r }), &["Rmsprop", "alpha", "below 1", "1"][..]),
        ("momentum", rmsprop(RmspropConfig { momentum: -0.1, ..r }), &["momentum", "at least 0", "-0.1"]),
        ("eps", rmsprop(RmspropConfig { eps: f64::NAN, ..r }), &["eps", "NaN"]),
        ("lr_decay", adagrad(AdagradConfig { lr_decay: -1.0, ..a }), &["Adagrad", "lr_decay", "-1"]),
        (
            "accumulator",
            adagrad(AdagradConfig { initial_accumulator_value: -0.5, ..a }),
            &["initial_accumulator_value", "-0.5"],
        ),
        (
            "betas",
            adamw(AdamWConfig { betas: [0.9, 1.0], ..AdamWConfig::default() }),
            &["AdamW", "betas[1]", "below 1", "1"],
        ),
        (
            "nesterov with dampening",
            sgd(SgdConfig { nesterov: true, momentum: 0.9, dampening: 0.1, ..SgdConfig::default() }),
            &["nesterov", "dampening 0", "0.1"],
        ),
        (
            "nesterov",
            sgd(SgdConfig { nesterov: true, ..SgdConfig::default() }),
            &["nesterov", "momentum > 0", "0"],
        ),
        ("two groups", grouped(&[group(vec![id]), group(vec![id])]), &["x0", "two groups"]),
        ("another model", grouped(&[group(vec![other])]), &["another model"]),
        (
            "a group's rate",
            grouped(&[ParamGroup { lr: Some(-1.0), ..group(vec![id]) }]),
            &["lr of a group", "-1"],
        ),
    ] {
        refused(what, result, fragments);
    }
    let adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
    refused("clip value", adam.clip_grad_value(0.0), &["clip_grad_value", "above 0", "0"]);
}

#[test]
fn clipping_is_pytorchs() {
    let tensors = stored("optimizers");
    for device in devices() {
        for case in ["clip0", "clip1"] {
            let part = |key: &str| &tensors[&format!("{case}.{key}")];
            let gradient = part("grads").f32();
            let parameters = vectors(&device, &[&vec![0.0; gradient.len()]]);
            let adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
            backpropagate(&parameters, &gradient);
            adam.clip_grad_norm(part("max_norm").values[0]).unwrap();
            let label = |what: &str| format!("{device:?} {case} {what}");
            let norm = adam.control().state().unwrap().grad_norm;
            assert_conforms(&label("norm"), &[norm], &part("expect.norm").values, 1e-6);
            let id = parameters.id("x0").unwrap();
            let clipped = parameters.gradient(id).unwrap().to_vec().unwrap();
            assert_conforms(&label("gradient"), &clipped, &part("expect.grads").values, 1e-6);
        }
    }
}

#[test]
fn clipping_by_value_is_pytorchs() {
    let tensors = stored("optimizers");
    for device in devices() {
        let gradient = tensors["clip_value.grads"].f32();
        let parameters = vectors(&device, &[&vec![0.0; gradient.len()]]);
        let adam = Adam::new(&parameters, AdamConfig::default()).unwrap();
        backpropagate(&parameters, &gradient);
        adam.clip_grad_value(0.5).unwrap();
        let clipped = parameters.gradient(ids(&parameters)[0]).unwrap().to_vec().unwrap();
        let expected: Vec<f32> = tensors["clip_value.expect.grads"].f32();
        assert_eq!(clipped, expected, "{device:?}");
    }
}
