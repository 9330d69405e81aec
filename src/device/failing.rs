//! A device that fails on purpose.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Arg, Backend, Device, DeviceInfo, Host, KernelTime, Memory, ReadBack, Stats, View, host};
use crate::error::{Error, Fault, Result};
use crate::kernel::{Dtype, Limits, Plan};
use crate::plans::PlanTable;

/// When a device is to fail, and with what.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The call that fails: its number, from 0, among those that reach the device (memory, launches, copies to and fro,
    /// waiting for one, submissions).
    pub at: u64,
    /// What it fails with. One that ends the device is met by all calls from then on.
    pub fault: Fault,
    /// Calls so far.
    pub calls: Arc<AtomicU64>,
}

/// Any device, until it fails.
pub struct Failing {
    inner: Arc<dyn Backend>,
    failure: Failure,
    ended: OnceLock<Fault>,
}

impl Failing {
    pub fn new(device: &Device, failure: Failure) -> Failing {
        Failing { inner: device.backend.clone(), failure, ended: OnceLock::new() }
    }

    /// Counts a call, and fails where it is its turn.
    pub fn call(&self) -> Result<()> {
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

impl Backend for Failing {
    fn info(&self) -> &DeviceInfo {
        self.inner.info()
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    fn allocate(&self, dtype: Dtype, len: usize) -> Result<Memory> {
        self.call()?;
        self.inner.allocate(dtype, len)
    }

    fn release(&self, memory: Memory) {
        self.inner.release(memory);
    }

    fn launch(&self, plan: &Plan, params: &[u8], args: &[Arg<'_>]) -> Result<()> {
        self.call()?;
        self.inner.launch(plan, params, args)
    }

    fn upload(&self, to: View<'_>, data: Host<'_>) -> Result<()> {
        self.call()?;
        self.inner.upload(to, data)
    }

    fn read_back(self: Arc<Self>, from: View<'_>) -> Result<ReadBack> {
        self.call()?;
        let read = self.inner.clone().read_back(from)?;
        Ok(ReadBack(host::State::OfFailing(self, Box::new(read))))
    }

    fn submit(&self) -> Result<()> {
        self.call()?;
        self.inner.submit()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn start_profile(&self) -> Result<()> {
        self.inner.start_profile()
    }

    fn finish_profile(&self) -> Result<Vec<KernelTime>> {
        self.inner.finish_profile()
    }

    fn plans(&self) -> Option<&PlanTable> {
        self.inner.plans()
    }

    fn reopen(&self) -> Result<Device> {
        self.inner.reopen()
    }
}
