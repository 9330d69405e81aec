//! What the driver reports, kept until the next call can return it as an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};

/// How long a submission may take before the device counts as hung.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same of an adapter made of software, which never hangs, and which is as slow as the other work of its machine lets it
/// be: SwiftShader takes over a minute for some launches.
const SOFTWARE_PATIENCE: Duration = Duration::from_secs(1200);

/// What an invalid call to wgpu is, where nobody but this package can have made it.
pub const DEFECT: &str = "a defect of bptt, please report it";

/// The first fault of a device. Once there is one, every call that reaches the device returns it.
#[derive(Clone)]
pub struct Faults {
    first: Arc<Mutex<Option<String>>>,
    patience: Duration,
}

impl Faults {
    /// Installs the handlers. Must come before any other call to the device: without a handler wgpu panics.
    pub fn watch(device: &wgpu::Device, software: bool) -> Self {
        let patience = if software { SOFTWARE_PATIENCE } else { PATIENCE };
        let faults = Faults { first: Arc::default(), patience };
        let uncaptured = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            uncaptured.set(describe(&error, DEFECT))
        }));
        let lost = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            lost.set(format!("the device was lost ({reason:?}: {message}); run again, with a smaller batch if it happens again"));
        });
        faults
    }

    fn set(&self, message: String) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
    }

    /// The first fault, if there was one.
    pub fn check(&self) -> Result<()> {
        match &*self.first.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(message) => Err(Error::gpu(message.clone())),
        }
    }

    /// Waits for a submission (or just collects what is finished).
    pub fn poll(&self, device: &wgpu::Device, wait_for: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let patience = self.patience;
        let poll = match wait_for {
            Some(index) => wgpu::PollType::Wait { submission_index: Some(index), timeout: Some(patience) },
            None => wgpu::PollType::Poll,
        };
        // wgpu 30 panics in `poll` when the device is lost (src/backend/wgpu_core.rs).
        let result = catch_unwind(AssertUnwindSafe(|| device.poll(poll)));
        self.check()?;
        // What was submitted may be lost: no later result of this device can be trusted.
        match result {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.set(format!("the GPU did not finish its work in {patience:?} ({error})")),
            Err(_) => self.set("the device was lost while waiting for it; run again".into()),
        }
        self.check()
    }

    /// Runs `create` and returns what wgpu has against it as an error.
    pub fn scoped<T>(device: &wgpu::Device, what: &str, create: impl FnOnce() -> T) -> Result<T> {
        Faults::scoped_as(device, what, DEFECT, create)
    }

    /// Like [`Faults::scoped`], with what it means that wgpu finds something invalid.
    pub fn scoped_as<T>(
        device: &wgpu::Device,
        what: &str,
        invalid: &str,
        create: impl FnOnce() -> T,
    ) -> Result<T> {
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = create();
        let errors = [validation.pop(), internal.pop(), memory.pop()].map(pollster::block_on);
        match errors.into_iter().flatten().next() {
            None => Ok(made),
            Some(error) => Err(Error::gpu(format!("{what}: {}", describe(&error, invalid)))),
        }
    }
}

fn describe(error: &wgpu::Error, invalid: &str) -> String {
    match error {
        wgpu::Error::OutOfMemory { .. } => {
            "the GPU's memory is used up; make the batch, the sequence or the model smaller, or use --device cpu".into()
        }
        wgpu::Error::Validation { description, .. } => format!("{invalid}: {description}"),
        wgpu::Error::Internal { description, .. } => format!("the driver refused: {description}"),
    }
}
