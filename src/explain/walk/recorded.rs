//! The numbers of recorded launches, by the names of kernels and arguments.

use crate::device::{Launch, Profile, Work};
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

    /// What an argument held after it.
    pub fn values(&self, argument: &str) -> Vec<f64> {
        let place = self.launch.plan.kernel.args.iter().position(|declared| declared.name == argument);
        self.launch.values[place.expect("an argument of the kernel")].clone().f64()
    }

    /// The variant that it ran in.
    pub fn variant(&self) -> usize {
        self.launch.plan.variant
    }

    /// A parameter.
    pub fn param(&self, name: &str) -> u32 {
        self.launch.params[self.place(name).expect("a parameter of the kernel")]
    }

    /// Whether the kernel has a parameter of that name, and it is not 0.
    pub fn is_on(&self, name: &str) -> bool {
        self.place(name).is_some_and(|place| self.launch.params[place] != 0)
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.launch.plan.kernel.params.iter().position(|(param, _)| *param == name)
    }
}

fn all<'p>(profile: &'p Profile, kernel: &str, work: Work) -> impl Iterator<Item = &'p Launch> {
    profile.launches.iter().filter(move |launch| {
        launch.plan.kernel.name == kernel && profile.work(launch).is_some_and(|(of, _)| of == work)
    })
}
