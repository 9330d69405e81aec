//! The numbers of recorded launches, by the names of kernels and arguments.

use crate::device::{Launch, Profile, Values, Work};
use crate::error::{Error, Result};

/// A launch of a kernel in a part of the tape's work.
pub(super) struct Recorded<'p> {
    launch: &'p Launch,
}

impl<'p> Recorded<'p> {
    /// The first.
    ///
    /// # Errors
    /// [`Error::Argument`] when the kernel was not launched there.
    pub fn first(profile: &'p Profile, kernel: &str, work: Work) -> Result<Recorded<'p>> {
        Recorded::found(all(profile, kernel, work).next(), kernel)
    }

    /// The last.
    ///
    /// # Errors
    /// As [`Recorded::first`].
    pub fn last(profile: &'p Profile, kernel: &str, work: Work) -> Result<Recorded<'p>> {
        Recorded::found(all(profile, kernel, work).last(), kernel)
    }

    fn found(launch: Option<&'p Launch>, kernel: &str) -> Result<Recorded<'p>> {
        let missing = || Error::argument("explain", format!("the step has launched no {kernel}"));
        Ok(Recorded { launch: launch.ok_or_else(missing)? })
    }

    /// What an argument held after it, from element `start` on.
    pub fn values(&self, argument: &str, start: usize) -> Vec<f64> {
        let place = self.launch.plan.kernel.args.iter().position(|declared| declared.name == argument);
        let values = &self.launch.values[place.expect("an argument of the kernel")];
        Values::clone(values).f64()[start..].to_vec()
    }

    /// The variant that it ran in.
    pub fn variant(&self) -> usize {
        self.launch.plan.variant
    }

    /// A parameter.
    pub fn param(&self, name: &str) -> u32 {
        let place = self.launch.plan.kernel.params.iter().position(|(param, _)| *param == name);
        self.launch.params[place.expect("a parameter of the kernel")]
    }
}

fn all<'p>(profile: &'p Profile, kernel: &str, work: Work) -> impl Iterator<Item = &'p Launch> {
    profile.launches.iter().filter(move |launch| {
        launch.plan.kernel.name == kernel && profile.work(launch).is_some_and(|(of, _)| of == work)
    })
}
