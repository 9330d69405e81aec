//! A device that computes nothing and has no memory, but counts what another device would do with the same launches. So
//! what a training takes is known before it begins, from the very code that trains.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pool::Pool;
use super::recorded::Recorded;
use super::{
    Arg, Backend, Checked, Detail, Device, DeviceInfo, Host, Memory, MemoryKind, Profile, ReadBack, Stats,
    Values, View, host,
};
use crate::error::Result;
use crate::kernel::{Dtype, Limits, MAX_ARGS, Plan, Processor};
use crate::plans::PlanTable;

/// A run without work, on a device that stands for another. Its tensors may be larger than the other device could make;
/// every value that is read back is 0.
#[derive(Clone)]
pub(crate) struct DryRun {
    dry: Arc<Dry>,
}

struct Dry {
    of: Arc<dyn Backend>,
    state: Mutex<State>,
}

struct State {
    pool: Pool<()>,
    /// The bytes of the largest copy in 32 bits of each argument.
    converted: [usize; MAX_ARGS],
    dispatches: u64,
    submits: u64,
    recorded: Recorded,
    /// The longest submission's estimated seconds.
    longest: f64,
}

impl DryRun {
    /// On a device that stands for `device`: with its limits and its plans.
    pub fn of(device: &Device) -> DryRun {
        let state = State {
            pool: Pool::new(),
            converted: [0; MAX_ARGS],
            dispatches: 0,
            submits: 0,
            recorded: Recorded::default(),
            longest: 0.0,
        };
        DryRun { dry: Arc::new(Dry { of: device.backend.clone(), state: Mutex::new(state) }) }
    }

    /// The device.
    pub fn device(&self) -> Device {
        Device { backend: self.dry.clone() }
    }

    /// The seconds that the longest submission is estimated to take; 0 on the CPU, which has none.
    pub fn longest_submission(&self) -> f64 {
        self.dry.lock().longest
    }
}

impl Dry {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn submit(&mut self) {
        let seconds = std::mem::take(&mut self.recorded).seconds;
        if seconds > 0.0 {
            self.longest = self.longest.max(seconds);
            self.submits += 1;
        }
    }
}

impl Backend for Dry {
    fn info(&self) -> &DeviceInfo {
        self.of.info()
    }

    fn limits(&self) -> &Limits {
        self.of.limits()
    }

    fn plans(&self) -> Option<&PlanTable> {
        self.of.plans()
    }

    fn cooperative_matrices(&self, _: &Device) -> Checked {
        self.of.cooperative_matrices(&Device { backend: self.of.clone() })
    }

    fn bytes(&self, dtype: Dtype, len: usize) -> usize {
        self.of.bytes(dtype, len)
    }

    fn converted_bytes(&self, dtype: Dtype, len: usize) -> usize {
        self.of.converted_bytes(dtype, len)
    }

    fn allocate(&self, dtype: Dtype, len: usize) -> Result<Memory> {
        let bytes = self.bytes(dtype, len);
        let (id, ()) = self.lock().pool.take(bytes, || Ok(()))?;
        Ok(Memory { id, bytes, kind: MemoryKind::Counted })
    }

    fn release(&self, memory: Memory) {
        self.lock().pool.put(memory.id, memory.bytes, ());
    }

    fn launch(&self, plan: &Plan, params: &[u8], args: &[Arg<'_>]) -> Result<()> {
        let mut state = self.lock();
        state.dispatches += 1;
        for (converted, view) in state.converted.iter_mut().zip(args.iter().map(|arg| arg.view)) {
            let bytes = view.map_or(0, |view| self.of.converted_bytes(view.buffer.dtype(), view.len));
            *converted = bytes.max(*converted);
        }
        if self.limits().processor != Processor::Cpu {
            if state.recorded.is_full() {
                state.submit();
            }
            state.recorded.add(plan, params, args, self.limits());
        }
        Ok(())
    }

    fn upload(&self, _: View<'_>, _: Host<'_>) -> Result<()> {
        Ok(())
    }

    fn read_back(self: Arc<Self>, from: View<'_>) -> Result<ReadBack> {
        self.lock().submit();
        Ok(ReadBack(host::State::Ready(match from.buffer.dtype() {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Values::F32(vec![0.0; from.len]),
            Dtype::I32 => Values::I32(vec![0; from.len]),
        })))
    }

    fn submit(&self) -> Result<()> {
        self.lock().submit();
        Ok(())
    }

    fn end_step(&self) -> Result<()> {
        let mut state = self.lock();
        if state.recorded.is_worth_a_submission(self.limits()) {
            state.submit();
        }
        Ok(())
    }

    fn stats(&self) -> Stats {
        let state = self.lock();
        let bytes_converted = state.converted.iter().map(|bytes| *bytes as u64).sum();
        Stats { dispatches: state.dispatches, submits: state.submits, bytes_converted, ..state.pool.stats() }
    }

    fn reopen(&self) -> Result<Device> {
        self.of.reopen()
    }

    fn start_profile(&self, _: Detail) -> Result<()> {
        Ok(())
    }

    fn finish_profile(&self) -> Result<Profile> {
        Ok(Profile::default())
    }
}
