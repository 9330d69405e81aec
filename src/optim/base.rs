//! What all optimizers are made of: the parameters in runs with equal settings, the state, the control buffer.

use std::collections::HashMap;

use super::{Control, LossScale, MOST_STEPS, clip};
use crate::cpu::control::MOST_SCALE;
use crate::device::Host;
use crate::error::{Error, Result};
use crate::kernel::Dtype;
use crate::parameters::{ParameterId, Parameters};
use crate::tensor::{Shape, Tensor};

/// Parameters with settings of their own, as a group of torch.optim.
#[derive(Clone, Debug, Default)]
pub struct ParamGroup {
    /// The parameters of the group.
    pub parameters: Vec<ParameterId>,
    /// The learning rate; where it is not given, that of the configuration.
    pub lr: Option<f64>,
    /// The weight decay; where it is not given, that of the configuration.
    pub weight_decay: Option<f64>,
}

/// Parameters that are neighbours in memory and have equal settings: one launch changes them.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    start: usize,
    count: usize,
    /// The initial learning rate.
    lr: f64,
    /// The weight decay.
    pub weight_decay: f64,
}

/// Part of an optimizer's state: a number for each parameter's element.
#[derive(Debug)]
struct State {
    /// PyTorch's name of it.
    name: &'static str,
    /// Laid out as the arenas; a single element where the options need no such state.
    arena: Tensor,
    used: bool,
}

/// A kind of state as an optimizer asks for it: PyTorch's name, whether its options need it, the initial value.
pub type StateKind = (&'static str, bool, f32);

/// What every optimizer holds.
#[derive(Debug)]
pub struct OptimizerBase {
    op: &'static str,
    pub(super) parameters: Parameters,
    pub(super) control: Control,
    runs: Vec<Run>,
    /// The learning rate of the configuration, and what it has been set to.
    initial_lr: f64,
    lr: f64,
    pub(super) skip_nonfinite: bool,
    states: Vec<State>,
}

/// torch.amp.GradScaler's names of its state.
const SCALE_STATE: [&str; 2] = ["scale", "_growth_tracker"];

/// The arguments of a launch for one run.
pub(super) struct Slices {
    /// The parameters' values, the gradients.
    pub values: Tensor,
    pub gradients: Tensor,
    /// Each kind of state.
    pub states: Vec<Tensor>,
    /// The learning rate now.
    pub lr: f64,
}

/// An error unless an option is in its range.
pub(super) fn range(op: &'static str, name: &str, value: f64, good: bool, expected: &str) -> Result<()> {
    match good {
        true => Ok(()),
        false => Err(Error::argument(op, format!("{name} must be {expected}, got {value}"))),
    }
}

/// An error unless an option is at least 0 and finite.
pub(super) fn at_least_0(op: &'static str, name: &str, value: f64) -> Result<()> {
    range(op, name, value, value >= 0.0 && value.is_finite(), "at least 0")
}

impl OptimizerBase {
    /// An optimizer of all parameters: those in `groups` with settings of their own, the others with these.
    pub(super) fn new(
        op: &'static str,
        parameters: &Parameters,
        [lr, weight_decay]: [f64; 2],
        groups: &[ParamGroup],
        kinds: &[StateKind],
    ) -> Result<OptimizerBase> {
        at_least_0(op, "lr", lr)?;
        at_least_0(op, "weight_decay", weight_decay)?;
        let mut of_parameter: Vec<Option<&ParamGroup>> = vec![None; parameters.len()];
        for group in groups {
            at_least_0(op, "lr of a group", group.lr.unwrap_or(lr))?;
            at_least_0(op, "weight_decay of a group", group.weight_decay.unwrap_or(weight_decay))?;
            for id in &group.parameters {
                let (index, name) = parameters.place(*id)?;
                if of_parameter[index].replace(group).is_some() {
                    return Err(Error::argument(op, format!("the parameter {name} is in two groups")));
                }
            }
        }
        let mut runs: Vec<Run> = Vec::new();
        for (group, (start, count)) in of_parameter.into_iter().zip(parameters.spans()) {
            let lr = group.and_then(|group| group.lr).unwrap_or(lr);
            let weight_decay = group.and_then(|group| group.weight_decay).unwrap_or(weight_decay);
            match runs.last_mut() {
                Some(run) if run.lr == lr && run.weight_decay == weight_decay => run.count += count,
                _ => runs.push(Run { start, count, lr, weight_decay }),
            }
        }
        let device = parameters.device();
        let count = parameters.arenas()?.0.count();
        let state = |(name, used, initial): &StateKind| {
            // What is not used is bound all the same: as much of it as a thread takes at a time.
            let arena = Tensor::empty(device, Dtype::F32, [if *used { count } else { 4 }])?;
            arena.fill(*initial)?;
            Ok(State { name, arena, used: *used })
        };
        let states = kinds.iter().map(state).collect::<Result<_>>()?;
        let control = Control::new(device)?;
        Ok(OptimizerBase {
            op,
            parameters: parameters.clone(),
            control,
            runs,
            initial_lr: lr,
            lr,
            skip_nonfinite: false,
            states,
        })
    }

    /// The runs of parameters: one launch each.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The part of every arena that belongs to a run.
    pub(super) fn slices(&self, run: &Run) -> Result<Slices> {
        let (values, gradients) = self.parameters.arenas()?;
        let part = |arena: &Tensor| arena.slice(run.start, [run.count]);
        let state = |state: &State| if state.used { part(&state.arena) } else { Ok(state.arena.clone()) };
        Ok(Slices {
            values: part(values)?,
            gradients: part(gradients)?,
            states: self.states.iter().map(state).collect::<Result<_>>()?,
            lr: self.lr_of(run),
        })
    }

    /// The learning rate of a run now: a group with one of its own keeps its ratio to the configuration's.
    fn lr_of(&self, run: &Run) -> f64 {
        if run.lr == self.initial_lr {
            self.lr
        } else if self.initial_lr == 0.0 {
            run.lr
        } else {
            run.lr * (self.lr / self.initial_lr)
        }
    }

    pub(super) fn scale_loss(&mut self, scale: LossScale) -> Result<()> {
        scale.check(self.op)?;
        self.control = Control::with_scale(self.parameters.device(), scale)?;
        Ok(())
    }

    /// Whether the gradients are still to be divided by a loss scale. Whoever asks must do so then: the next answer is no.
    pub(super) fn take_scale(&self) -> bool {
        self.control.loss_scale().is_some() && !self.parameters.take_scale()
    }

    /// Divides the gradients by the loss scale, unless that is done or there is none.
    pub(super) fn unscale(&self) -> Result<()> {
        if self.take_scale() { clip::clip(self, f32::MAX, true) } else { Ok(()) }
    }

    pub(super) fn set_lr(&mut self, lr: f64) -> Result<()> {
        at_least_0(self.op, "lr", lr)?;
        self.lr = lr;
        Ok(())
    }

    pub(super) fn lr(&self) -> f64 {
        self.lr
    }

    /// The state of every parameter, with PyTorch's names, `step`, and of a loss scale `scale` and `_growth_tracker`.
    pub(super) fn state(&self) -> Result<Vec<(String, Shape, Vec<f32>)>> {
        let number = |name: &str, value: f32| (name.to_string(), Shape::from([1]), vec![value]);
        let mut all = vec![number("step", self.control.state()?.steps as f32)];
        if let Some(state) = self.control.scale_state()? {
            all.extend(SCALE_STATE.into_iter().zip(state).map(|(name, value)| number(name, value)));
        }
        for State { name: kind, arena, .. } in self.states.iter().filter(|state| state.used) {
            let values = arena.to_vec()?;
            for ((name, shape), (start, _)) in self.parameters.names().zip(self.parameters.spans()) {
                all.push((format!("{kind}.{name}"), shape, values[start..][..shape.count()].to_vec()));
            }
        }
        Ok(all)
    }

    /// Goes on from a state that [`OptimizerBase::state`] gave.
    pub(super) fn load_state(&self, entries: &[(String, Shape, Vec<f32>)]) -> Result<()> {
        let mut expected = vec![("step".to_string(), Shape::from([1]))];
        if self.control.loss_scale().is_some() {
            expected.extend(SCALE_STATE.map(|name| (name.to_string(), Shape::from([1]))));
        }
        for state in self.states.iter().filter(|state| state.used) {
            let names = self.parameters.names();
            expected.extend(names.map(|(name, shape)| (format!("{}.{name}", state.name), shape)));
        }
        let mut faults = Vec::new();
        let mut given = HashMap::new();
        for (name, shape, values) in entries {
            if given.insert(name.as_str(), (shape, values)).is_some() {
                faults.push(format!("'{name}' is there twice"));
            }
        }
        let mut unknown = given.clone();
        for (name, shape) in &expected {
            match unknown.remove(name.as_str()) {
                None => faults.push(format!("'{name}' is missing")),
                Some((given, values)) if given != shape || values.len() != shape.count() => {
                    faults.push(format!(
                        "'{name}' must be {shape:?}, got {given:?} of {} values",
                        values.len()
                    ));
                }
                Some(_) => {}
            }
        }
        if let Some((_, step)) = given.get("step")
            && !step.iter().all(|step| (0.0..=MOST_STEPS as f32).contains(step) && step.fract() == 0.0)
        {
            faults.push(format!("'step' must be a whole number from 0 to {MOST_STEPS}, got {step:?}"));
        }
        let [scale, good] =
            SCALE_STATE.map(|name| given.get(name).and_then(|(_, values)| values.first().copied()));
        if let Some(scale) = scale.filter(|scale| !(1.0..=MOST_SCALE as f32).contains(scale)) {
            faults.push(format!("'{}' must be from 1 to {MOST_SCALE}, got {scale}", SCALE_STATE[0]));
        }
        if let Some(good) =
            good.filter(|good| !(0.0..=MOST_SCALE as f32).contains(good) || good.fract() != 0.0)
        {
            faults.push(format!("'{}' must be a whole number, got {good}", SCALE_STATE[1]));
        }
        let unknown = entries.iter().filter(|(name, ..)| unknown.contains_key(name.as_str()));
        faults.extend(unknown.map(|(name, ..)| format!("'{name}' is unknown")));
        if !faults.is_empty() {
            return Err(Error::argument(self.op, format!("the state does not fit: {}", faults.join(", "))));
        }
        let values = |name: &str| given[name].1;
        for State { name: kind, arena, .. } in self.states.iter().filter(|state| state.used) {
            for ((name, shape), (start, _)) in self.parameters.names().zip(self.parameters.spans()) {
                let part = arena.slice(start, shape)?;
                part.assign(Host::F32(values(&format!("{kind}.{name}"))))?;
            }
        }
        self.control.set(values("step")[0] as u64, [scale, good].map(Option::unwrap_or_default))
    }
}
