//! What the driver reports, kept until the next call can return it as an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Fault, Result};

/// What an invalid call to wgpu means, where only this package can have made it.
pub const DEFECT: &str = "a defect of bptt, please report it";

/// The first fault of a device. Once there is one, every call that reaches the device returns it.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Option<Fault>>>);

impl Faults {
    /// Installs the handlers. Must come before any other call to the device: without a handler wgpu panics.
    pub fn watch(device: &wgpu::Device) -> Self {
        let faults = Faults::default();
        let uncaptured = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            uncaptured.set(describe("a call", error, DEFECT))
        }));
        let lost = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            lost.set(Fault::Lost { message: format!("{reason:?}: {message}") });
        });
        faults
    }

    /// Takes note of a fault, unless there has been one.
    pub fn set(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
    }

    /// The first fault, if there was one.
    pub fn check(&self) -> Result<()> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(fault) => Err(Error::Gpu(fault.clone())),
        }
    }

    /// Waits for a submission, at most for the time beside it. With none, it only collects what has finished.
    pub fn poll(
        &self,
        device: &wgpu::Device,
        wait_for: Option<(wgpu::SubmissionIndex, Duration)>,
    ) -> Result<()> {
        let (poll, patience) = match wait_for {
            Some((index, patience)) => {
                (wgpu::PollType::Wait { submission_index: Some(index), timeout: Some(patience) }, patience)
            }
            None => (wgpu::PollType::Poll, Duration::ZERO),
        };
        // wgpu 30 panics in `poll` when the device is lost (src/backend/wgpu_core.rs).
        let result = catch_unwind(AssertUnwindSafe(|| device.poll(poll)));
        self.check()?;
        // What was submitted may be lost: no later result of this device can be trusted.
        match result {
            Ok(Ok(_)) => {}
            Ok(Err(wgpu::PollError::Timeout)) => self.set(Fault::Timeout { after: patience }),
            // A device that is destroyed makes no submission, and its callback comes late (gfx-rs/wgpu#9278).
            Ok(Err(error)) => self.set(Fault::Lost { message: error.to_string() }),
            Err(_) => self.set(Fault::Lost { message: "while waiting for it".into() }),
        }
        self.check()
    }

    /// Returns an error that ends the device, and keeps it for all calls to come.
    pub fn keep<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Gpu(fault)) = &result
            && fault.ends_device()
        {
            self.set(fault.clone());
        }
        result
    }

    /// Runs `create` and returns what wgpu has against it as an error.
    pub fn scoped<T>(device: &wgpu::Device, what: &str, create: impl FnOnce() -> T) -> Result<T> {
        Faults::scoped_as(device, what, DEFECT, create)
    }

    /// Like [`Faults::scoped`]; `invalid` says what it means if wgpu finds something invalid.
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
            Some(error) => Err(Error::Gpu(describe(what, error, invalid))),
        }
    }
}

/// wgpu's error as a fault. Where memory is short, [`super::Gpu`] fills in how much was wanted and is in use.
fn describe(what: &str, error: wgpu::Error, invalid: &str) -> Fault {
    let what = what.to_string();
    match error {
        wgpu::Error::OutOfMemory { .. } => Fault::OutOfMemory { device: what, wanted: 0, in_use: 0 },
        wgpu::Error::Validation { description, .. } => {
            Fault::Invalid { what, message: format!("{invalid}: {description}") }
        }
        wgpu::Error::Internal { description, .. } => Fault::Refused { what, message: description },
    }
}
