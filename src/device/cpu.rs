//! The CPU as a device: a launch calls the kernel's twin.

use std::cell::UnsafeCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::pool::{Pool, size_class};
use super::{
    Arg, Backend, Detail, Device, DeviceInfo, Host, Memory, MemoryKind, Profile, ReadBack, Recorder, Stats,
    Values, View, host,
};
use crate::cpu::halves;
use crate::cpu::real::{Bounded, Real};
use crate::error::{Error, Fault, Result};
use crate::kernel::{Access, Dtype, Elements, LEAST, Limits, MAX_ARGS, Plan, Processor, Slot};

/// Memory of the CPU device, aligned for the widest vectors.
pub struct HostMemory(Box<[UnsafeCell<Block>]>);

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Block([u8; 64]);

// SAFETY: the contents are touched only by `Cpu`, which holds its lock for as long as a reference to them lives.
unsafe impl Sync for HostMemory {}

/// A CPU device computing with numbers of type `R`: f32 for use, f64 and [`Bounded`] as references.
pub struct Cpu<R> {
    info: DeviceInfo,
    /// Guards the contents of all memory of the device too.
    state: Mutex<State>,
    recorder: Recorder,
    number: std::marker::PhantomData<fn() -> R>,
}

/// Kernels index in 32 bits.
const LIMITS: Limits = Limits { processor: Processor::Cpu, binding: u32::MAX as u64, ..LEAST };

struct State {
    pool: Pool<HostMemory>,
    /// Room for the 32-bit copies of arguments that are stored in 16 bits, one for each argument of a launch: twins compute on
    /// these.
    wide: [Vec<f32>; MAX_ARGS],
    dispatches: u64,
}

/// Numbers that the CPU device can hold.
pub trait Element: Real {
    /// Whether 16-bit reals take 16 bits in memory. The reference devices keep them in full.
    const PACKS: bool = false;
    /// As values for the host.
    fn values(x: &[Self]) -> Values;
}
impl Element for f32 {
    const PACKS: bool = true;
    fn values(x: &[Self]) -> Values {
        Values::F32(x.to_vec())
    }
}
impl Element for f64 {
    fn values(x: &[Self]) -> Values {
        Values::F64(x.to_vec())
    }
}
impl Element for Bounded {
    fn values(x: &[Self]) -> Values {
        Values::Bounded(x.to_vec())
    }
}

impl<R: Element> Cpu<R> {
    pub fn new(name: &str) -> Self {
        let info =
            DeviceInfo { name: name.into(), backend: name.into(), driver: String::new(), software: false };
        let state = Mutex::new(State { pool: Pool::new(), wide: Default::default(), dispatches: 0 });
        Cpu { info, state, recorder: Recorder::default(), number: std::marker::PhantomData }
    }

    /// A panic in a twin leaves numbers half-computed but every structure whole, so a poisoned lock is fine.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The elements of a view.
    ///
    /// # Safety
    /// The caller holds the lock of the device that owns the view while the slice lives, and no `elements_mut` of the
    /// same buffer lives beside it. `T` is `R` where the buffer holds reals, `u16` where these are
    /// of 16 bits and the device packs them, and `i32` where it holds integers.
    unsafe fn elements<'a, T: bytemuck::Pod>(view: &View<'a>) -> &'a [T] {
        // SAFETY: see above; the allocation holds `buffer.len()` elements of `T` (allocate).
        unsafe { std::slice::from_raw_parts(Self::start::<T>(view), view.len) }
    }

    /// The elements of a view, to be changed.
    ///
    /// # Safety
    /// As for `elements`; and no other slice of the same buffer lives beside it (the launch contract checks it).
    unsafe fn elements_mut<'a, T: bytemuck::Pod>(view: &View<'a>) -> &'a mut [T] {
        // SAFETY: see above.
        unsafe { std::slice::from_raw_parts_mut(Self::start::<T>(view), view.len) }
    }

    fn start<T>(view: &View<'_>) -> *mut T {
        let MemoryKind::Host(memory) = &view.buffer.memory().kind else {
            unreachable!("the contract admits only buffers of this device")
        };
        // Every block is a cell: the pointer may be written through although the memory is only borrowed.
        let start = memory.0.as_ptr().cast::<T>().cast_mut();
        // SAFETY: the offset lies inside the allocation (`Buffer::view`).
        unsafe { start.add(view.offset) }
    }
}

impl<R: Element> Backend for Cpu<R> {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn bytes(&self, dtype: Dtype, len: usize) -> usize {
        let element = if dtype.is_float() && !R::PACKS { size_of::<R>() } else { dtype.size() };
        size_class(len * element)
    }

    fn converted_bytes(&self, dtype: Dtype, len: usize) -> usize {
        if R::PACKS && dtype.is_half() { len * size_of::<R>() } else { 0 }
    }

    fn allocate(&self, dtype: Dtype, len: usize) -> Result<Memory> {
        let bytes = self.bytes(dtype, len);
        let blocks = bytes / size_of::<Block>();
        let create = || {
            let zeros = bytemuck::try_zeroed_slice_box(blocks);
            zeros.map(HostMemory)
        };
        let mut state = self.lock();
        let mut taken = state.pool.take(bytes, create);
        if taken.is_err() {
            // What is only kept for reuse is given up.
            state.pool.clear();
            state.wide = Default::default();
            taken = state.pool.take(bytes, create);
        }
        let (device, wanted, in_use) = (self.info.name.clone(), bytes as u64, state.pool.bytes_in_use);
        let (id, memory) = taken.map_err(|()| Error::Gpu(Fault::OutOfMemory { device, wanted, in_use }))?;
        Ok(Memory { id, bytes, kind: MemoryKind::Host(memory) })
    }

    fn release(&self, memory: Memory) {
        if let MemoryKind::Host(host) = memory.kind {
            self.lock().pool.put(memory.id, memory.bytes, host);
        }
    }

    fn launch(&self, plan: &Plan, params: &[u8], args: &[Arg<'_>]) -> Result<()> {
        let mut state = self.lock();
        let State { wide, dispatches, .. } = &mut *state;
        // A reference rounds what the twin has changed, and nothing else: so what was there before is kept.
        let mut before: [Vec<R>; MAX_ARGS] = Default::default();
        let mut slots: [Slot<'_, R>; MAX_ARGS] = std::array::from_fn(|_| Slot::Read(&[]));
        for (i, ((arg, declared), wide)) in args.iter().zip(plan.kernel.args).zip(&mut *wide).enumerate() {
            let Some(view) = arg.view else {
                slots[i] =
                    if declared.elements == Elements::I32 { Slot::ReadInt(&[]) } else { Slot::Read(&[]) };
                continue;
            };
            let dtype = view.buffer.dtype();
            // SAFETY: the lock is held until the twin has returned; the contract's check made sure that types fit and
            // that a buffer which is written appears once.
            slots[i] = unsafe {
                match (arg.access, dtype) {
                    (Access::Read, Dtype::I32) => Slot::ReadInt(Self::elements(&view)),
                    (_, Dtype::I32) => Slot::WriteInt(Self::elements_mut(&view)),
                    (access, _) if R::PACKS && dtype.is_half() => {
                        if wide.len() < view.len {
                            *wide = vec![0.0; view.len];
                        }
                        let wide = &mut wide[..view.len];
                        if access != Access::Write {
                            halves::unpack(dtype, Self::elements(&view), wide);
                        } else if cfg!(debug_assertions) {
                            // An element that the twin leaves out must show.
                            wide.fill(f32::NAN);
                        }
                        let numbers = bytemuck::cast_slice_mut(wide);
                        if access == Access::Read { Slot::Read(numbers) } else { Slot::Write(numbers, dtype) }
                    }
                    (Access::Read, _) => Slot::Read(Self::elements(&view)),
                    _ => {
                        if dtype.is_half() {
                            before[i] = Self::elements(&view).to_vec();
                        }
                        Slot::Write(Self::elements_mut(&view), dtype)
                    }
                }
            };
        }
        let begin = self.recorder.counts().then(Instant::now);
        R::twin(plan.kernel)(params, &mut slots[..args.len()]);
        for (i, (arg, declared)) in args.iter().zip(plan.kernel.args).enumerate() {
            let Some(view) = arg.view.filter(|view| view.buffer.dtype().is_half()) else { continue };
            let dtype = view.buffer.dtype();
            match (arg.access, declared.elements) {
                (Access::Read, _) => {}
                _ if R::PACKS => {
                    // SAFETY: as above, and the twin's slices are gone.
                    halves::pack(dtype, &wide[i][..view.len], unsafe { Self::elements_mut(&view) })
                }
                // The twin rounds these itself.
                (_, Elements::Kept) => {}
                _ => {
                    // SAFETY: as above.
                    let written: &mut [R] = unsafe { Self::elements_mut(&view) };
                    let changed = written.iter_mut().zip(&before[i]);
                    let changed =
                        changed.filter(|(x, before)| bytemuck::bytes_of(*x) != bytemuck::bytes_of(*before));
                    changed.for_each(|(x, _)| *x = x.stored(dtype));
                }
            }
        }
        if let Some(begin) = begin {
            self.recorder.launched(plan, params, args, begin);
        }
        *dispatches += 1;
        Ok(())
    }

    fn upload(&self, to: View<'_>, data: Host<'_>) -> Result<()> {
        let _lock = self.lock();
        let dtype = to.buffer.dtype();
        // SAFETY: the lock is held and each is the only slice; `Device::upload` compared the types.
        unsafe {
            match data {
                Host::F32(data) if dtype.is_half() && R::PACKS => {
                    halves::pack(dtype, data, Self::elements_mut(&to));
                }
                Host::F64(data) if dtype.is_half() && R::PACKS => {
                    let data: Vec<f32> = data.iter().map(|x| *x as f32).collect();
                    halves::pack(dtype, &data, Self::elements_mut(&to));
                }
                Host::F32(data) => {
                    let to = Self::elements_mut::<R>(&to);
                    to.iter_mut().zip(data).for_each(|(to, x)| *to = R::of(dtype.round(*x).into()));
                }
                Host::F64(data) => {
                    let round = |x: f64| if dtype.is_half() { dtype.round(x as f32).into() } else { x };
                    let to = Self::elements_mut::<R>(&to);
                    to.iter_mut().zip(data).for_each(|(to, x)| *to = R::of(round(*x)));
                }
                Host::I32(data) => Self::elements_mut::<i32>(&to).copy_from_slice(data),
            }
        }
        Ok(())
    }

    fn read_back(self: Arc<Self>, from: View<'_>) -> Result<ReadBack> {
        let _lock = self.lock();
        let dtype = from.buffer.dtype();
        // SAFETY: the lock is held and nothing writes meanwhile.
        let values = unsafe {
            match dtype {
                Dtype::I32 => Values::I32(Self::elements::<i32>(&from).to_vec()),
                _ if dtype.is_half() && R::PACKS => {
                    Values::F32(halves::unpacked(dtype, Self::elements(&from)))
                }
                _ => R::values(Self::elements::<R>(&from)),
            }
        };
        Ok(ReadBack(host::State::Ready(values)))
    }

    fn submit(&self) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> Stats {
        let state = self.lock();
        let bytes_converted = state.wide.iter().map(|wide| size_of_val(&wide[..]) as u64).sum();
        Stats { dispatches: state.dispatches, bytes_converted, ..state.pool.stats() }
    }

    fn reopen(&self) -> Result<Device> {
        Ok(Device { backend: Arc::new(Cpu::<R>::new(&self.info.name)) })
    }

    fn recorder(&self) -> Option<&Recorder> {
        Some(&self.recorder)
    }

    fn start_profile(&self, detail: Detail) -> Result<()> {
        self.recorder.start(detail);
        Ok(())
    }

    fn finish_profile(&self) -> Result<Profile> {
        Ok(self.recorder.finish())
    }
}
