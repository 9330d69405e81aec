//! A device that fails.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Tamper, Tampered};
use crate::device::Device;
use crate::error::{Error, Fault, Result};

/// When a device is to fail, and with what.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The call that fails: its number, from 0, among those that reach the device (memory, launches, copies to and fro,
    /// waiting for one, submissions).
    pub at: u64,
    /// What it fails with. A fault that ends the device is met by all later calls too.
    pub fault: Fault,
    /// Calls so far.
    pub calls: Arc<AtomicU64>,
}

impl Device {
    /// A device that works as this one does until it fails, for tests of what follows. To open it again opens this device again,
    /// which fails no more.
    pub fn failing(&self, failure: Failure) -> Device {
        Tampered::device(self, Failing { failure, ended: OnceLock::new() })
    }
}

struct Failing {
    failure: Failure,
    ended: OnceLock<Fault>,
}

impl Tamper for Failing {
    fn call(&self) -> Result<()> {
        let Failure { at, fault, calls } = &self.failure;
        let number = calls.fetch_add(1, Ordering::Relaxed);
        if let Some(fault) = self.ended.get() {
            return Err(Error::Gpu(fault.clone()));
        }
        if number != *at {
            return Ok(());
        }
        if fault.ends_device() {
            let _ = self.ended.set(fault.clone());
        }
        Err(Error::Gpu(fault.clone()))
    }
}
