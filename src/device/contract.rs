//! The contract of a launch, the same on every device.

use std::sync::Arc;

use super::{Arg, Device};
use crate::error::{Error, Result};
use crate::kernel::{Access, MAX_ARGS, MAX_GROUPS, Plan, Storage};

/// The most bytes of parameters a kernel may have: what immediates hold everywhere.
pub const MAX_PARAMS: usize = 128;

/// Checks a launch. Costs a few nanoseconds: formats nothing unless it fails.
pub fn check(device: &Device, plan: &Plan, params: usize, args: &[Arg<'_>]) -> Result<()> {
    let declared = plan.kernel.args;
    if declared.len() > MAX_ARGS || params > MAX_PARAMS || plan.grid.iter().any(|groups| *groups > MAX_GROUPS)
    {
        return fail(plan, format!("{plan:?} is beyond what every adapter takes"));
    }
    let variant = &plan.kernel.variants[plan.variant];
    if !device.allows(variant) {
        return fail(plan, format!("'{}' is more than {device:?} offers", variant.name));
    }
    if args.len() != declared.len() {
        return fail(plan, format!("takes {} buffers, got {}", declared.len(), args.len()));
    }
    let declared_params = 4 * plan.kernel.params.len();
    if params != declared_params {
        return fail(plan, format!("takes {declared_params} bytes of parameters, got {params}"));
    }
    if variant.stored.is_some() && !variant.takes(&stored(plan, args)) {
        let found = &stored(plan, args)[..args.len()];
        return fail(
            plan,
            format!("'{}' takes {:?}, got {found:?}", variant.name, variant.stored.unwrap_or(&[])),
        );
    }
    for (i, (arg, declared)) in args.iter().zip(declared).enumerate() {
        if arg.access != declared.access {
            return fail(
                plan,
                format!("{} is declared {:?}, got {:?}", declared.name, declared.access, arg.access),
            );
        }
        let Some(view) = arg.view else { continue };
        let dtype = view.buffer.dtype();
        if !declared.elements.take(dtype) {
            return fail(plan, format!("{} holds {}, got {dtype:?}", declared.name, declared.elements));
        }
        if !Arc::ptr_eq(&view.buffer.0.backend, &device.backend) {
            return fail(plan, format!("{} is {}", declared.name, device.elsewhere(view.buffer)));
        }
        let alignment = dtype.alignment();
        if !view.offset.is_multiple_of(alignment) {
            let (name, offset) = (declared.name, view.offset);
            return fail(
                plan,
                format!("{name} begins at element {offset}, not at a multiple of {alignment}"),
            );
        }
        let same = |other: &Arg<'_>| {
            other.view.is_some_and(|o| Arc::ptr_eq(&o.buffer.0, &view.buffer.0) && o.len > 0 && view.len > 0)
        };
        let clash =
            |other: &Arg<'_>| (arg.access != Access::Read || other.access != Access::Read) && same(other);
        if args[..i].iter().any(clash) {
            return fail(plan, format!("{} is written and given twice", declared.name));
        }
    }
    Ok(())
}

/// The types of the arguments; of those that are absent in 32 bits.
fn stored(plan: &Plan, args: &[Arg<'_>]) -> Storage {
    let mut storage = plan.kernel.widest();
    for (dtype, arg) in storage.iter_mut().zip(args) {
        *dtype = arg.view.filter(|view| view.len > 0).map_or(*dtype, |view| view.buffer.dtype());
    }
    storage
}

fn fail(plan: &Plan, message: String) -> Result<()> {
    Err(Error::argument(plan.kernel.name, message))
}
