//! The optimizer of a case.

use super::format::Optimizer as Described;
use crate::error::Result;
use crate::optim::{
    Adagrad, AdagradConfig, Adam, AdamConfig, AdamW, AdamWConfig, Optimizer, Rmsprop, RmspropConfig, Sgd,
    SgdConfig,
};
use crate::parameters::Parameters;

/// A configuration with the options that a case has; those that it lacks keep their defaults, which are PyTorch's.
macro_rules! config {
    ($config:ident, $options:ident: $($field:ident),+) => {{
        let default = $config::default();
        $config { $($field: $options.$field.unwrap_or(default.$field)),+ }
    }};
}

/// Makes it.
pub fn optimizer(described: &Described, parameters: &Parameters) -> Result<Box<dyn Optimizer>> {
    Ok(match described {
        Described::Sgd(o) => {
            let config = config!(SgdConfig, o: lr, momentum, dampening, weight_decay, nesterov);
            Box::new(Sgd::new(parameters, config)?)
        }
        Described::Adam(o) => {
            let config = config!(AdamConfig, o: lr, betas, eps, weight_decay, amsgrad);
            Box::new(Adam::new(parameters, config)?)
        }
        Described::AdamW(o) => {
            let config = config!(AdamWConfig, o: lr, betas, eps, weight_decay, amsgrad);
            Box::new(AdamW::new(parameters, config)?)
        }
        Described::Rmsprop(o) => {
            let config = config!(RmspropConfig, o: lr, alpha, eps, weight_decay, momentum, centered);
            Box::new(Rmsprop::new(parameters, config)?)
        }
        Described::Adagrad(o) => {
            let config =
                config!(AdagradConfig, o: lr, lr_decay, weight_decay, eps, initial_accumulator_value);
            Box::new(Adagrad::new(parameters, config)?)
        }
    })
}
