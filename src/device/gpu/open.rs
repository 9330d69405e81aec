//! Opening an adapter: which limits and features to ask for.

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::fault::Faults;
use super::pipelines::PARAM_BYTES;
use super::{Gpu, State};
use crate::device::Recorder;
use crate::error::{Error, Fault, Result};
use crate::kernel::{COOPERATIVE, Limits, ParamSpace, Processor};
use crate::plans::PlanTable;

/// How to open a GPU. The default takes what the adapter offers. An environment variable of the name sets an option for all
/// devices: `BPTT_DEFAULT_LIMITS=1`, `BPTT_UNIFORM_PARAMETERS=1`, `BPTT_CHECKED_SHADERS=1`, `BPTT_PACKED_F16=1`,
/// `BPTT_COOPERATIVE=0`.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Keep to WebGPU's default limits although the adapter offers more, and take none of WebGPU's optional features:
    /// neither subgroups, nor the type `f16`, nor cooperative matrices, nor the timestamps of profiles.
    pub default_limits: bool,
    /// Pass parameters through uniform buffers although the adapter offers immediates, which WebGPU has not.
    pub uniform_parameters: bool,
    /// Keep naga's guards in the shaders (loops, integer division).
    pub checked_shaders: bool,
    /// Store two F16 in a word although the adapter has the type `f16`, which WebGPU has not everywhere. Cooperative matrices
    /// need that type.
    pub packed_f16: bool,
    /// Make products of F16 without cooperative matrices although the adapter lists them.
    pub no_cooperative: bool,
    /// How long a submission may take before the device counts as hung; none: two minutes, or twenty on a software adapter,
    /// which never hangs, but is slow where its machine has other work.
    pub patience: Option<Duration>,
    /// The share of the adapter's memory, in percent, that may be used: beyond it there is "no memory". It takes effect only
    /// where the driver tells how much memory there is.
    pub memory_budget: Option<u8>,
    /// A failure to provoke, for tests of what follows.
    pub provoke: Option<Provoked>,
}

/// A failure of a real device that tests provoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provoked {
    /// The submission of this number, counted from 0, is lost, but reported as done.
    LostSubmission(u64),
    /// The device is destroyed before the submission of this number.
    LostDevice(u64),
}

/// How long a submission may take where the options do not say it.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same on a software adapter: SwiftShader takes over a minute for some launches.
const SOFTWARE_PATIENCE: Duration = Duration::from_secs(1200);

/// wgpu's permission for cooperative matrices.
// SAFETY: one shader uses them, which keeps to what is sound in wgpu 30 (shaders/matmul_cooperative.wgsl), and no result
// depends on it before its products have been checked.
pub(super) const EXPERIMENTAL: wgpu::ExperimentalFeatures = unsafe { wgpu::ExperimentalFeatures::enabled() };

/// An error unless an adapter offers what every kernel counts on: these of WebGPU's default limits.
fn enough(adapter: &str, available: &wgpu::Limits) -> Result<()> {
    let default = wgpu::Limits::default();
    let limits = |of: &wgpu::Limits| {
        [
            ("storage buffers for a kernel", of.max_storage_buffers_per_shader_stage),
            ("threads in a workgroup", of.max_compute_invocations_per_workgroup),
            ("bytes of workgroup memory", of.max_compute_workgroup_storage_size),
            ("workgroups in a row", of.max_compute_workgroups_per_dimension),
        ]
    };
    for ((limit, needed), (_, available)) in limits(&default).into_iter().zip(limits(available)) {
        if available < needed {
            let (adapter, needed, available) = (adapter.to_string(), needed.into(), available.into());
            return Err(Error::Gpu(Fault::AdapterTooSmall { adapter, limit, needed, available }));
        }
    }
    Ok(())
}

/// Whether an adapter lists cooperative matrices of the kind that kernels use; wgpu lists those of subgroups only.
fn lists_matrices(adapter: &wgpu::Adapter) -> bool {
    let wanted = wgpu::CooperativeMatrixProperties {
        m_size: 16,
        n_size: 16,
        k_size: 16,
        ab_type: wgpu::CooperativeScalarType::F16,
        cr_type: wgpu::CooperativeScalarType::F32,
        saturating_accumulation: false,
    };
    adapter.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
        && adapter.cooperative_matrix_properties().contains(&wanted)
}

impl GpuOptions {
    /// The least that bptt runs on, whatever the adapter offers: WebGPU's default limits, no immediates, naga's guards.
    pub const LEAST: GpuOptions = GpuOptions {
        default_limits: true,
        uniform_parameters: true,
        checked_shaders: true,
        packed_f16: true,
        no_cooperative: true,
        patience: None,
        memory_budget: None,
        provoke: None,
    };

    /// These options, and those that the environment sets.
    fn with_env(&self) -> Self {
        let says = |variable, word| std::env::var(variable).is_ok_and(|value| value == word);
        let asked = |option, variable| option || says(variable, "1");
        GpuOptions {
            default_limits: asked(self.default_limits, "BPTT_DEFAULT_LIMITS"),
            uniform_parameters: asked(self.uniform_parameters, "BPTT_UNIFORM_PARAMETERS"),
            checked_shaders: asked(self.checked_shaders, "BPTT_CHECKED_SHADERS"),
            packed_f16: asked(self.packed_f16, "BPTT_PACKED_F16"),
            no_cooperative: self.no_cooperative || says("BPTT_COOPERATIVE", "0"),
            ..self.clone()
        }
    }
}

impl Gpu {
    /// Opens an adapter.
    pub fn open(adapter: &wgpu::Adapter, options: &GpuOptions) -> Result<Self> {
        let options = options.with_env();
        let about = adapter.get_info();
        let offered = adapter.features();
        let immediates = !options.uniform_parameters && offered.contains(wgpu::Features::IMMEDIATES);
        let timestamps = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES;
        let profiling = !options.default_limits && offered.contains(timestamps);
        let mut features = wgpu::Features::empty();
        if immediates {
            features |= wgpu::Features::IMMEDIATES;
        }
        if profiling {
            features |= timestamps;
        }
        let f16 =
            !options.packed_f16 && !options.default_limits && offered.contains(wgpu::Features::SHADER_F16);
        if f16 {
            features |= wgpu::Features::SHADER_F16;
        }
        let available = adapter.limits();
        // WebGPU's defaults, less what only graphics needs and small GPUs lack.
        let mut limits = wgpu::Limits::default().or_worse_values_from(&available);
        enough(&about.name, &available)?;
        if !options.default_limits {
            limits.max_buffer_size = available.max_buffer_size;
            limits.max_storage_buffer_binding_size = available.max_storage_buffer_binding_size;
            limits.max_compute_workgroup_storage_size = available.max_compute_workgroup_storage_size;
            limits.max_compute_invocations_per_workgroup = available.max_compute_invocations_per_workgroup;
            limits.max_compute_workgroup_size_x = available.max_compute_workgroup_size_x;
            limits.max_compute_workgroup_size_y = available.max_compute_workgroup_size_y;
        }
        // A kernel for subgroups counts on their size: some adapters choose one for each pipeline.
        let one_size = about.subgroup_min_size == about.subgroup_max_size;
        let subgroups = !options.default_limits && offered.contains(wgpu::Features::SUBGROUP) && one_size;
        if subgroups {
            features |= wgpu::Features::SUBGROUP;
        }
        if immediates {
            limits.max_immediate_size = available.max_immediate_size.min(PARAM_BYTES);
        }
        // Byte offsets are 32-bit numbers in bind groups.
        let binding =
            limits.max_storage_buffer_binding_size.min(limits.max_buffer_size).min(u64::from(u32::MAX));
        let software = about.device_type == wgpu::DeviceType::Cpu;
        let subgroup = if subgroups { about.subgroup_min_size } else { 0 };
        let cooperative = if options.no_cooperative {
            Err("they are switched off")
        } else if !lists_matrices(adapter) {
            Err("the adapter does not list 16 x 16 x 16 from f16 to f32")
        } else if !f16 || software || subgroup != COOPERATIVE.subgroup {
            Err("they are for GPUs with f16 and subgroups of 32")
        } else {
            Ok(())
        };
        let request = |features, experimental_features| {
            pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
                label: Some("bptt"),
                required_features: features,
                required_limits: limits.clone(),
                experimental_features,
                memory_hints: wgpu::MemoryHints::Performance,
                ..Default::default()
            }))
        };
        let without = || request(features, wgpu::ExperimentalFeatures::disabled());
        let opened = match cooperative {
            Ok(()) => {
                let with_matrices = features | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
                request(with_matrices, EXPERIMENTAL).or_else(|_| without())
            }
            Err(_) => without(),
        };
        let (device, queue) = opened.map_err(|error| {
            Error::Gpu(Fault::Unusable { adapter: about.name.clone(), message: error.to_string() })
        })?;
        let refused = !device.features().contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
        let cooperative = cooperative.and(if refused { Err("the driver refuses them") } else { Ok(()) });
        let kernel_limits = Limits {
            processor: if software { Processor::Software } else { Processor::Gpu },
            threads: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
            memory: limits.max_compute_workgroup_storage_size,
            subgroup,
            cooperative: cooperative.is_ok(),
            binding,
        };
        let faults = Faults::watch(&device);
        let space = if immediates { ParamSpace::Immediate } else { ParamSpace::Uniform };
        let trusted = !options.checked_shaders;
        let state = Faults::scoped(&device, "opening the device", || State::new(&device, space, trusted))?;
        Ok(Gpu {
            info: crate::device::select::device_info(&about),
            options: options.clone(),
            patience: options.patience.unwrap_or(if software { SOFTWARE_PATIENCE } else { PATIENCE }),
            device,
            queue,
            faults,
            limits: kernel_limits,
            space,
            profiling,
            // Without the feature there is nothing to find out.
            native_f16: if f16 { OnceLock::new() } else { OnceLock::from(false) },
            cooperative: cooperative
                .map_or_else(|reason| OnceLock::from(Err(reason.into())), |()| OnceLock::new()),
            plans: PlanTable::default(),
            recorder: Recorder::default(),
            state: Mutex::new(state),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_adapter_lacks_is_named() {
        let default = wgpu::Limits::default();
        assert!(enough("test", &default).is_ok());
        let small = wgpu::Limits { max_compute_workgroup_storage_size: 16_000, ..default };
        let error = enough("Tiny", &small).unwrap_err().to_string();
        assert_eq!(
            error,
            "GPU fault: Tiny has 16000 bytes of workgroup memory, but bptt needs 16384; use another --device, or cpu"
        );
        let four = wgpu::Limits::downlevel_defaults();
        assert!(enough("test", &four).unwrap_err().to_string().contains("4 storage buffers"));
    }
}
