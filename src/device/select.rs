//! Which device: listing the adapters and choosing one by name.

use std::sync::{Arc, OnceLock};

use super::gpu::Gpu;
use super::{Device, DeviceInfo, GpuOptions};
use crate::error::{Error, Result};

/// What to do when there is no GPU driver.
const INSTALL: &str = "install a Vulkan driver (on Debian and Ubuntu: `apt install mesa-vulkan-drivers`, which also \
                       brings a software one) or use --device cpu";

/// An adapter that `--device` can name.
#[derive(Clone, Debug)]
pub struct AdapterReport {
    /// What the device made from it says of itself.
    pub info: DeviceInfo,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// Limits that matter to bptt, by name: bytes or counts.
    pub limits: Vec<(&'static str, u64)>,
    /// Optional features that matter to bptt, and whether the adapter has them.
    pub features: Vec<(&'static str, bool)>,
    /// Whether `auto` takes it.
    pub auto: bool,
}

/// Every adapter of Vulkan, Metal and DX12, in the order of the indices that [`Device::named`] takes.
pub fn adapters() -> Vec<AdapterReport> {
    let adapters = enumerate();
    let best = real(adapters).next();
    adapters.iter().enumerate().map(|(i, adapter)| report(adapter, Some(i) == best)).collect()
}

/// The process's wgpu adapters. One instance for all: drivers are loaded once.
fn enumerate() -> &'static [wgpu::Adapter] {
    static ADAPTERS: OnceLock<Vec<wgpu::Adapter>> = OnceLock::new();
    ADAPTERS.get_or_init(|| enumerate_anew(None))
}

/// The adapters of a new wgpu instance, within a share of their memory in percent.
fn enumerate_anew(budget: Option<u8>) -> Vec<wgpu::Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends();
    // Validation layers only on request (WGPU_VALIDATION=1): they are often missing or slow.
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    descriptor.memory_budget_thresholds.for_resource_creation = budget;
    silence_wayland();
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(backends()))
}

/// Mesa's Vulkan layer asks Wayland which GPU is the display's. With no display that makes libwayland print "error:
/// XDG_RUNTIME_DIR is invalid", as if the program had failed; a socket that does not exist is passed over in silence.
fn silence_wayland() {
    let only_thread = std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if only_thread && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread can read the environment meanwhile, since there is none.
        unsafe { std::env::set_var("WAYLAND_DISPLAY", "/nonexistent") };
    }
}

fn backends() -> wgpu::Backends {
    wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12
}

fn kind(info: &wgpu::AdapterInfo) -> &'static str {
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    }
}

/// What a device made from an adapter says of itself.
pub fn device_info(about: &wgpu::AdapterInfo) -> DeviceInfo {
    DeviceInfo {
        name: about.name.clone(),
        backend: about.backend.to_str().to_string(),
        driver: format!("{} {}", about.driver, about.driver_info).trim().to_string(),
        software: about.device_type == wgpu::DeviceType::Cpu,
    }
}

fn report(adapter: &wgpu::Adapter, auto: bool) -> AdapterReport {
    let (about, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let has = |feature| features.contains(feature);
    AdapterReport {
        kind: kind(&about),
        limits: vec![
            ("largest buffer", limits.max_buffer_size),
            ("largest binding", limits.max_storage_buffer_binding_size),
            ("workgroup memory", u64::from(limits.max_compute_workgroup_storage_size)),
            ("threads in a workgroup", u64::from(limits.max_compute_invocations_per_workgroup)),
            ("storage buffers in a kernel", u64::from(limits.max_storage_buffers_per_shader_stage)),
            ("smallest subgroup", u64::from(about.subgroup_min_size)),
            ("largest subgroup", u64::from(about.subgroup_max_size)),
        ],
        features: vec![
            ("immediates", has(wgpu::Features::IMMEDIATES)),
            ("f16", has(wgpu::Features::SHADER_F16)),
            ("subgroups", has(wgpu::Features::SUBGROUP)),
            ("timestamps", has(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES)),
            ("cooperative matrices", has(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX)),
        ],
        info: device_info(&about),
        auto,
    }
}

/// The adapters that `auto` tries, best first: discrete, integrated and virtual GPUs.
fn real(adapters: &[wgpu::Adapter]) -> impl Iterator<Item = usize> {
    let is_real = |i: &usize| matches!(kind(&adapters[*i].get_info()), "discrete" | "integrated" | "virtual");
    ranked(adapters).into_iter().filter(is_real)
}

/// Indices of the adapters, best kind first; the driver's order among equals.
fn ranked(adapters: &[wgpu::Adapter]) -> Vec<usize> {
    let rank = |i: &usize| match adapters[*i].get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    let mut order: Vec<usize> = (0..adapters.len()).collect();
    order.sort_by_key(rank);
    order
}

/// See [`Device::named`].
pub fn named(name: &str) -> Result<Device> {
    let asked = match std::env::var("BPTT_DEVICE") {
        Ok(variable) if name.eq_ignore_ascii_case("auto") && !variable.trim().is_empty() => variable,
        _ => name.to_string(),
    };
    match asked.trim().to_ascii_lowercase().as_str() {
        "cpu" => Ok(Device::cpu()),
        // One that cannot be opened is passed over: there is always the CPU.
        "auto" => Ok(real(enumerate())
            .find_map(|index| open(&enumerate()[index], &GpuOptions::default()).ok())
            .unwrap_or_else(Device::cpu)),
        _ => gpu(asked.trim(), &GpuOptions::default()),
    }
}

/// See [`Device::gpu`].
pub fn gpu(name: &str, options: &GpuOptions) -> Result<Device> {
    let within;
    let adapters = match options.memory_budget {
        None => enumerate(),
        budget => {
            within = enumerate_anew(budget);
            &within
        }
    };
    let lower = name.to_ascii_lowercase();
    let wanted = if lower == "gpu" {
        ranked(adapters).first().copied()
    } else if let Ok(index) = lower.parse::<usize>() {
        (index < adapters.len()).then_some(index)
    } else {
        let matches = |i: &usize| adapters[*i].get_info().name.to_ascii_lowercase().contains(&lower);
        ranked(adapters).into_iter().find(matches)
    };
    match wanted {
        Some(index) if !lower.is_empty() => open(&adapters[index], options),
        _ => Err(Error::NoDevice { asked: name.into(), message: tried(adapters) }),
    }
}

/// Opens the adapter of that description again, on a new instance: the driver may have begun anew.
pub fn reopen(info: &DeviceInfo, options: &GpuOptions) -> Result<Device> {
    let adapters = enumerate_anew(options.memory_budget);
    match adapters.iter().find(|adapter| device_info(&adapter.get_info()) == *info) {
        Some(adapter) => open(adapter, options),
        None => Err(Error::NoDevice { asked: info.name.clone(), message: tried(&adapters) }),
    }
}

fn open(adapter: &wgpu::Adapter, options: &GpuOptions) -> Result<Device> {
    Ok(Device { backend: Arc::new(Gpu::open(adapter, options)?) })
}

fn tried(adapters: &[wgpu::Adapter]) -> String {
    if adapters.is_empty() {
        return format!("looked for adapters of Vulkan, Metal and DX12 and found none; {INSTALL}");
    }
    let names = adapters.iter().enumerate().map(|(i, adapter)| format!("{i} ({})", adapter.get_info().name));
    format!("there are auto, cpu, gpu and {}", names.collect::<Vec<_>>().join(", "))
}
