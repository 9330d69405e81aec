//! Devices that are tampered with on purpose, for tests of what follows: one that [fails](Failure), and one that
//! [computes something wrong](Sabotage).

mod failure;
mod sabotage;

use std::sync::Arc;

use super::{
    Arg, Backend, Checked, Detail, Device, DeviceInfo, Host, Memory, Profile, ReadBack, Recorder, Stats,
    View, host,
};
use crate::error::Result;
use crate::kernel::{Dtype, Form, Limits, Plan, Storage};
use crate::plans::PlanTable;

pub use failure::Failure;
pub use sabotage::{Sabotage, Wrong};

/// What is done to a device.
pub trait Tamper: Send + Sync + 'static {
    /// Before each call that reaches the device.
    fn call(&self) -> Result<()>;

    /// After each launch.
    fn launched(&self, device: &dyn Backend, plan: &Plan, args: &[Arg<'_>]) -> Result<()> {
        let _ = (device, plan, args);
        Ok(())
    }
}

/// A device, and what is done to it.
pub struct Tampered {
    inner: Arc<dyn Backend>,
    tamper: Box<dyn Tamper>,
}

impl Tampered {
    fn device(of: &Device, tamper: impl Tamper) -> Device {
        Device { backend: Arc::new(Tampered { inner: of.backend.clone(), tamper: Box::new(tamper) }) }
    }

    /// Must come before values of the device are waited for.
    pub fn call(&self) -> Result<()> {
        self.tamper.call()
    }
}

impl Backend for Tampered {
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
        self.inner.launch(plan, params, args)?;
        self.tamper.launched(&*self.inner, plan, args)
    }

    fn upload(&self, to: View<'_>, data: Host<'_>) -> Result<()> {
        self.call()?;
        self.inner.upload(to, data)
    }

    fn read_back(self: Arc<Self>, from: View<'_>) -> Result<ReadBack> {
        self.call()?;
        let read = self.inner.clone().read_back(from)?;
        Ok(ReadBack(host::State::Tampered(self, Box::new(read))))
    }

    fn submit(&self) -> Result<()> {
        self.call()?;
        self.inner.submit()
    }

    fn end_step(&self) -> Result<()> {
        self.call()?;
        self.inner.end_step()
    }

    fn converted_bytes(&self, dtype: Dtype, len: usize) -> usize {
        self.inner.converted_bytes(dtype, len)
    }

    fn bytes(&self, dtype: Dtype, len: usize) -> usize {
        self.inner.bytes(dtype, len)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn recorder(&self) -> Option<&Recorder> {
        self.inner.recorder()
    }

    fn start_profile(&self, detail: Detail) -> Result<()> {
        self.inner.start_profile(detail)
    }

    fn finish_profile(&self) -> Result<Profile> {
        self.inner.finish_profile()
    }

    fn plans(&self) -> Option<&PlanTable> {
        self.inner.plans()
    }

    fn cooperative_matrices(&self, _: &Device) -> Checked {
        self.inner.cooperative_matrices(&Device { backend: self.inner.clone() })
    }

    fn form(&self, storage: Storage) -> Result<Form> {
        self.inner.form(storage)
    }

    fn reopen(&self) -> Result<Device> {
        self.inner.reopen()
    }

    fn native_f16(&self) -> Result<bool> {
        self.inner.native_f16()
    }
}
