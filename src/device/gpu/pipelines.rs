//! Compiled kernels, their layouts, and bind groups, each made once.

use std::collections::HashMap;
use std::num::NonZeroU64;

use super::fault::{DEFECT, Faults};
use crate::device::contract::MAX_PARAMS;
use crate::error::Result;
use crate::kernel::{Access, Dtype, Form, Kernel, MAX_ARGS, ParamSpace, Plan, Storage};

/// A kernel ready to be dispatched.
pub struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: Signature,
    /// Number within this device.
    pub index: usize,
}

/// Which bindings of a layout are read-only, one bit each, and how many bindings there are. Kernels of the same signature
/// share layouts, and so bind groups.
pub type Signature = (u32, usize);

/// A bind group: layout, and of each binding the buffer's number, byte offset and byte length.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BindKey {
    pub layout: Signature,
    pub ranges: [(u64, u32, u32); MAX_ARGS],
}

/// Bind groups kept for reuse.
const MOST_BIND_GROUPS: usize = 16_384;

pub struct Pipelines {
    device: wgpu::Device,
    space: ParamSpace,
    trusted: bool,
    layouts: HashMap<Signature, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    uniform_layout: wgpu::BindGroupLayout,
    pipelines: HashMap<(*const Kernel, usize, Storage), Pipeline>,
    pub bind_groups: HashMap<BindKey, wgpu::BindGroup>,
    pub bind_groups_created: u64,
}

// SAFETY: the pointers are keys taken from `&'static Kernel`; they are compared and never followed.
unsafe impl Send for Pipelines {}

/// Bytes of parameters that a layout allows for.
pub const PARAM_BYTES: u32 = MAX_PARAMS as u32;

impl Pipelines {
    pub fn new(device: &wgpu::Device, space: ParamSpace, trusted: bool) -> Self {
        let uniform_layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("parameters"),
            entries: &[entry(0, wgpu::BufferBindingType::Uniform, true)],
        });
        Pipelines {
            device: device.clone(),
            space,
            trusted,
            layouts: HashMap::new(),
            uniform_layout,
            pipelines: HashMap::new(),
            bind_groups: HashMap::new(),
            bind_groups_created: 0,
        }
    }

    /// Where parameters are.
    pub fn space(&self) -> ParamSpace {
        self.space
    }

    pub fn created(&self) -> u64 {
        self.pipelines.len() as u64
    }

    /// The bind group of the uniform ring.
    pub fn uniform_group(&self, ring: &wgpu::Buffer) -> wgpu::BindGroup {
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("parameters"),
            layout: &self.uniform_layout,
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: ring,
                    offset: 0,
                    size: NonZeroU64::new(u64::from(PARAM_BYTES)),
                }),
            }],
        })
    }

    /// The plan's pipeline for arguments of these types, compiled at its first use; `native` tells whether the type `f16` of
    /// WGSL can store F16.
    pub fn get(
        &mut self,
        plan: &Plan,
        storage: Storage,
        native: impl FnOnce() -> Result<bool>,
    ) -> Result<&Pipeline> {
        let key = (std::ptr::from_ref(plan.kernel), plan.variant, storage);
        // Looked up twice: a reference returned early would keep `self` borrowed in the other branch.
        if !self.pipelines.contains_key(&key) {
            let native = storage.contains(&Dtype::F16) && native()?;
            let pipeline = self.compile(plan, &Form { space: self.space, storage, native })?;
            self.pipelines.insert(key, pipeline);
        }
        Ok(&self.pipelines[&key])
    }

    fn compile(&mut self, plan: &Plan, form: &Form) -> Result<Pipeline> {
        let kernel = plan.kernel;
        let bits = kernel.args.iter().enumerate();
        let read_only = bits.fold(0, |bits, (i, arg)| bits | u32::from(arg.access == Access::Read) << i);
        let layout = (read_only, kernel.args.len());
        let index = self.pipelines.len();
        let text = kernel.wgsl(plan.variant, form)?;
        let (device, trusted) = (self.device.clone(), self.trusted && kernel.covered);
        let what = format!("kernel {} ({})", kernel.name, kernel.variants[plan.variant].name);
        let invalid =
            if kernel.covered { DEFECT } else { "its WGSL is invalid, or not what its kernel! declares" };
        Faults::scoped_as(&device.clone(), &what, invalid, move || {
            let source = wgpu::ShaderModuleDescriptor {
                label: Some(kernel.name),
                source: wgpu::ShaderSource::Wgsl(text.into()),
            };
            let module = if trusted {
                // Bounds stay checked. Loops end and divisors are not zero, by the tests of every kernel in the table
                // (tests/kernels.rs); naga's guards against both cost up to 100x in loops (gfx-rs/wgpu#7698).
                let mut checks = wgpu::ShaderRuntimeChecks::checked();
                checks.force_loop_bounding = false;
                checks.int_div_checks = false;
                // SAFETY: see above.
                unsafe { device.create_shader_module_trusted(source, checks) }
            } else {
                device.create_shader_module(source)
            };
            let (_, pipeline_layout) = self.layout(layout);
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(kernel.name),
                layout: Some(pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: None,
            });
            Pipeline { pipeline, layout, index }
        })
    }

    fn layout(&mut self, signature: Signature) -> &(wgpu::BindGroupLayout, wgpu::PipelineLayout) {
        let (device, uniform_layout, space) = (&self.device, &self.uniform_layout, self.space);
        self.layouts.entry(signature).or_insert_with(|| {
            let (read_only, count) = signature;
            let storage = |i| wgpu::BufferBindingType::Storage { read_only: read_only >> i & 1 == 1 };
            let entries: Vec<_> = (0..count as u32).map(|i| entry(i, storage(i), false)).collect();
            let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: None,
                entries: &entries,
            });
            let immediate = space == ParamSpace::Immediate;
            let groups = [Some(&group), Some(uniform_layout)];
            let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: if immediate { &groups[..1] } else { &groups },
                immediate_size: if immediate { PARAM_BYTES } else { 0 },
            });
            (group, pipeline)
        })
    }

    /// The bind group of `key`, where `buffers` are its buffers in order.
    pub fn bind_group(&mut self, key: &BindKey, buffers: &[&wgpu::Buffer]) -> Result<&wgpu::BindGroup> {
        if !self.bind_groups.contains_key(key) {
            // Where sizes change every step, every step makes new groups, and each keeps its buffers alive.
            if self.bind_groups.len() == MOST_BIND_GROUPS {
                self.bind_groups.clear();
            }
            let entries: Vec<_> = buffers
                .iter()
                .zip(&key.ranges)
                .enumerate()
                .map(|(i, (buffer, (_, offset, len)))| wgpu::BindGroupEntry {
                    binding: i as u32,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer,
                        offset: u64::from(*offset),
                        size: NonZeroU64::new(u64::from(*len)),
                    }),
                })
                .collect();
            self.layout(key.layout);
            let layout = &self.layouts[&key.layout].0;
            let descriptor = wgpu::BindGroupDescriptor { label: None, layout, entries: &entries };
            let group =
                Faults::scoped(&self.device, "bind group", || self.device.create_bind_group(&descriptor))?;
            self.bind_groups_created += 1;
            self.bind_groups.insert(*key, group);
        }
        Ok(&self.bind_groups[key])
    }
}

fn entry(binding: u32, ty: wgpu::BufferBindingType, has_dynamic_offset: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    }
}
