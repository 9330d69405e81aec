//! Every kernel's pipelines on adapters with many different limits, checked by wgpu. The adapters do not exist and run nothing, but
//! they refuse what their limits forbid.

use bptt::kernel::{Access, Form, Kernel, LEAST, Limits, ParamSpace};
use bptt::verify::TABLE;
use wgpu::{BindingType, BufferBindingType, Features, ShaderStages};

/// An adapter that could be somewhere.
struct Profile {
    name: &'static str,
    limits: wgpu::Limits,
    features: Features,
    /// What this package makes of it.
    kernels: Limits,
}

fn profiles() -> Vec<Profile> {
    let default = wgpu::Limits::default();
    let profile = |name, threads, memory, subgroup, immediates: bool| {
        let mut features = Features::empty();
        features.set(Features::SUBGROUP, subgroup > 0);
        features.set(Features::IMMEDIATES, immediates);
        Profile {
            name,
            limits: wgpu::Limits {
                max_compute_invocations_per_workgroup: threads,
                max_compute_workgroup_size_x: threads,
                max_compute_workgroup_storage_size: memory,
                max_immediate_size: if immediates { 128 } else { 0 },
                ..default.clone()
            },
            features,
            kernels: Limits { threads, memory, subgroup, ..LEAST },
        }
    };
    vec![
        profile("WebGPU's defaults", 256, 16_384, 0, false),
        profile("with immediates", 256, 16_384, 0, true),
        profile("large workgroups", 1024, 49_152, 32, true),
        profile("subgroups of 8", 1024, 32_768, 8, true),
        profile("subgroups of 64, no immediates", 512, 32_768, 64, false),
    ]
}

fn device(profile: &Profile) -> wgpu::Device {
    let noop = wgpu::NoopBackendOptions {
        limits: Some(profile.limits.clone()),
        features: Some(profile.features),
        ..wgpu::NoopBackendOptions::enabled()
    };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        backend_options: wgpu::BackendOptions { noop, ..Default::default() },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let descriptor = wgpu::DeviceDescriptor {
        required_features: profile.features,
        required_limits: profile.limits.clone(),
        ..Default::default()
    };
    pollster::block_on(adapter.request_device(&descriptor)).unwrap().0
}

/// What wgpu has against a kernel's pipeline.
fn refused(
    device: &wgpu::Device,
    kernel: &'static Kernel,
    variant: usize,
    space: ParamSpace,
) -> Option<String> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(
            kernel.wgsl(variant, &Form::widest(kernel, variant, space)).unwrap().into(),
        ),
    });
    let entry = |binding, ty, has_dynamic_offset| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    };
    let group = |entries: &[_]| {
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries })
    };
    let storage = kernel.args.iter().enumerate().map(|(i, arg)| {
        let read_only = arg.access == Access::Read;
        entry(i as u32, BufferBindingType::Storage { read_only }, false)
    });
    let groups = [group(&storage.collect::<Vec<_>>()), group(&[entry(0, BufferBindingType::Uniform, true)])];
    let groups = [Some(&groups[0]), Some(&groups[1])];
    let immediate = space == ParamSpace::Immediate;
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: if immediate { &groups[..1] } else { &groups },
        immediate_size: if immediate { 128 } else { 0 },
    });
    let _ = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    pollster::block_on(scope.pop()).map(|error| error.to_string())
}

#[test]
fn every_pipeline_keeps_to_what_its_limits_say() {
    let (mut made, mut forbidden) = (0, 0);
    for profile in profiles() {
        let device = device(&profile);
        let space = if profile.features.contains(Features::IMMEDIATES) {
            ParamSpace::Immediate
        } else {
            ParamSpace::Uniform
        };
        for kernel in TABLE.iter().map(|row| row.kernel) {
            for (index, variant) in kernel.variants.iter().enumerate() {
                let refused = refused(&device, kernel, index, space);
                let name = format!("{} ({}) on {}", kernel.name, variant.name, profile.name);
                if profile.kernels.allow(variant) {
                    made += 1;
                    assert!(refused.is_none(), "{name}: {refused:?}");
                } else if variant.needs.cooperative
                    || variant.needs.subgroup == 0
                    || profile.kernels.subgroup == 0
                {
                    // A subgroup of another size is refused by nobody but us.
                    forbidden += 1;
                    assert!(refused.is_some(), "{name} is not allowed, and nothing speaks against it");
                }
            }
        }
    }
    assert!(made > 250 && forbidden > 10, "{made} made, {forbidden} forbidden");
}
