//! What every kind of device must do.

use std::sync::Arc;

use super::buffer::Memory;
use super::{Arg, Detail, Device, DeviceInfo, Host, Profile, ReadBack, Recorder, Stats, View, pool};
use crate::error::Result;
use crate::kernel::{Dtype, Form, Limits, ParamSpace, Plan, Storage};
use crate::plans::PlanTable;

/// What a device must do; see the methods of [`Device`] for their meaning.
pub trait Backend: Send + Sync {
    fn info(&self) -> &DeviceInfo;
    fn limits(&self) -> &Limits;
    /// See [`Device::form`].
    fn form(&self, storage: Storage) -> Result<Form> {
        Ok(Form { space: ParamSpace::Uniform, storage, native: false })
    }
    fn allocate(&self, dtype: Dtype, len: usize) -> Result<Memory>;
    fn release(&self, memory: Memory);
    fn launch(&self, plan: &Plan, params: &[u8], args: &[Arg<'_>]) -> Result<()>;
    fn upload(&self, to: View<'_>, data: Host<'_>) -> Result<()>;
    fn read_back(self: Arc<Self>, from: View<'_>) -> Result<ReadBack>;
    fn submit(&self) -> Result<()>;
    /// See [`Device::end_step`].
    fn end_step(&self) -> Result<()> {
        self.submit()
    }
    fn stats(&self) -> Stats;
    /// What profiles are recorded by.
    fn recorder(&self) -> Option<&Recorder> {
        None
    }
    fn start_profile(&self, detail: Detail) -> Result<()>;
    fn finish_profile(&self) -> Result<Profile>;
    fn reopen(&self) -> Result<Device>;
    /// See [`Device::native_f16`].
    fn native_f16(&self) -> Result<bool> {
        Ok(false)
    }
    /// The bytes that so many elements take.
    fn bytes(&self, dtype: Dtype, len: usize) -> usize {
        pool::size_class(len * dtype.size())
    }
    /// The bytes of a 32-bit copy that a launch is given of so many elements of a type.
    fn converted_bytes(&self, _: Dtype, _: usize) -> usize {
        0
    }
    /// See [`Device::cooperative_matrices`]; `device` is this one.
    fn cooperative_matrices(&self, device: &Device) -> Checked {
        let _ = device;
        Err("its products need none".into())
    }
    /// Which way kernels take that can run in several; none where there is only one way.
    fn plans(&self) -> Option<&PlanTable> {
        None
    }
}

/// `Ok` where something works; else what speaks against it.
pub type Checked = std::result::Result<(), Arc<str>>;
