//! The ways in which a device or its driver can fail. The message of each says what may help.

use std::time::Duration;

/// A failure of a device or its driver: what happened and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// An adapter offers less than every kernel counts on.
    #[error("{adapter} has {available} {limit}, but bptt needs {needed}; use another --device, or cpu")]
    AdapterTooSmall {
        /// The adapter's name.
        adapter: String,
        /// What there is too little of.
        limit: &'static str,
        /// How much of it is needed.
        needed: u64,
        /// How much there is.
        available: u64,
    },
    /// An adapter was found but could not be opened.
    #[error("{adapter} cannot be used: {message}; update its driver, or use --device cpu")]
    Unusable {
        /// The adapter's name.
        adapter: String,
        /// What the driver says.
        message: String,
    },
    /// There is not enough memory, even after all memory that was kept for reuse has been given back.
    #[error(
        "out of memory on {device}: {wanted} more bytes were asked for while {in_use} are in use; make the batch, the sequence or \
         the model smaller; in a training --auto-batch takes the batch in parts"
    )]
    OutOfMemory {
        /// The device's name.
        device: String,
        /// Bytes that were asked for.
        wanted: u64,
        /// Bytes of tensors that were in use.
        in_use: u64,
    },
    /// A tensor is larger than what the device can bind for a kernel.
    #[error(
        "a tensor of {elements} elements takes {bytes} bytes, but {device} binds at most {most}; make the batch, the sequence \
         or the model smaller; in a training --auto-batch takes the batch in parts"
    )]
    TooLarge {
        /// The device's name.
        device: String,
        /// Its elements.
        elements: u64,
        /// Its bytes.
        bytes: u64,
        /// Bytes that the device can bind.
        most: u64,
    },
    /// A call or a shader is invalid. That is a defect of this package, or of a kernel from outside it.
    #[error("{what}: {message}")]
    Invalid {
        /// What was being done.
        what: String,
        /// Whose fault it is, and what the checks say.
        message: String,
    },
    /// The driver refused something valid, such as a shader that it cannot compile.
    #[error("{what}: the driver refused: {message}; update the driver, or use --device cpu")]
    Refused {
        /// What was being done.
        what: String,
        /// What the driver says.
        message: String,
    },
    /// The adapter lacks a feature that was asked for.
    #[error("{device} offers no {what}: use another --device, or cpu")]
    Missing {
        /// The device's name.
        device: String,
        /// What it lacks.
        what: &'static str,
    },
    /// The device did not finish its work in time.
    #[error(
        "the GPU did not finish its work in {after:?}; run again, with a smaller batch if it happens again"
    )]
    Timeout {
        /// How long it was waited for.
        after: Duration,
    },
    /// The driver gave the device up: after a reset or a crash of the driver, or because the card is gone.
    #[error("the device was lost ({message}); run again, with a smaller batch if it happens again")]
    Lost {
        /// What the driver says.
        message: String,
    },
    /// The device reported work as done that it had not done.
    #[error(
        "work was reported as done that was not ({message}); the GPU or its driver is at fault: run again"
    )]
    Silent {
        /// What shows it.
        message: String,
    },
    /// A result could not be mapped into the host's memory.
    #[error("a result could not be read ({message}); run again")]
    Mapping {
        /// What wgpu says.
        message: String,
    },
    /// The same work gave different bits when it was done again.
    #[error(
        "{what} has other bits when it is computed again on {device}: {first:e}, then {second:e}; check the device with: \
         bptt check"
    )]
    NotRepeatable {
        /// The device's name.
        device: String,
        /// The number in question.
        what: String,
        /// Its value at first.
        first: f32,
        /// Its value the second time.
        second: f32,
    },
}

impl Fault {
    /// Whether everything on the device is lost with this fault. The device may work when it is opened again: see
    /// [`Device::reopen`](crate::device::Device::reopen).
    pub fn ends_device(&self) -> bool {
        matches!(
            self,
            Fault::Timeout { .. } | Fault::Lost { .. } | Fault::Silent { .. } | Fault::Mapping { .. }
        )
    }
}
