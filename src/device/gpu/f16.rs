//! Whether a driver converts between WGSL's `f16` and `f32` as it should: to the nearest number, ties to even, too large ones
//! to infinity, and with the subnormal numbers of f16. WGSL does not demand it, so that it has to be tested.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;

use super::fault::Faults;
use crate::cpu::halves::hard_to_round;
use crate::error::{Error, Fault, Result};
use crate::kernel::Dtype;

/// Writes the 16-bit floats nearest to 32-bit ones, and what each 16-bit float is in 32 bits. NARROW and WIDE are the types, by
/// one number or by four: drivers may have other instructions for these.
const TEXT: &str = "
enable f16;

@group(0) @binding(0) var<storage, read> wide: array<WIDE>;
@group(0) @binding(1) var<storage, read_write> narrowed: array<NARROW>;
@group(0) @binding(2) var<storage, read> narrow: array<NARROW>;
@group(0) @binding(3) var<storage, read_write> widened: array<WIDE>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i < arrayLength(&wide) {
        narrowed[i] = NARROW(wide[i]);
    }
    if i < arrayLength(&narrow) {
        widened[i] = WIDE(narrow[i]);
    }
}
";

/// Converts all 16-bit floats and the hard 32-bit ones on the device, and compares with the host. `wait` waits for a
/// submission.
pub fn converts_well(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    wait: impl Fn(wgpu::SubmissionIndex) -> Result<()>,
) -> Result<bool> {
    let mut wide = hard_to_round(Dtype::F16);
    // Subnormal numbers of f32 may be flushed to 0. And the numbers fill whole vectors.
    wide.retain(|x| !x.is_subnormal());
    wide.resize(wide.len().next_multiple_of(4), 1e30);
    let narrow: Vec<u16> = (0..=u16::MAX).collect();
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    for (width, types) in [(1, ["f32", "f16"]), (4, ["vec4<f32>", "vec4<f16>"])] {
        let (narrowed, widened) = convert(device, queue, &wait, &wide, &narrow, (width, types))?;
        let narrows = wide
            .iter()
            .zip(narrowed)
            .all(|(wide, bits)| same(f16::from_f32(*wide).to_f32(), f16::from_bits(bits).to_f32()));
        let widens =
            narrow.iter().zip(widened).all(|(bits, wide)| same(f16::from_bits(*bits).to_f32(), wide));
        if !(narrows && widens) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the device makes of the numbers, by types of `width` numbers each.
fn convert(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    wait: impl Fn(wgpu::SubmissionIndex) -> Result<()>,
    wide: &[f32],
    narrow: &[u16],
    (width, [wide_type, narrow_type]): (usize, [&str; 2]),
) -> Result<(Vec<u16>, Vec<f32>)> {
    let read = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let written = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let (narrowed_bytes, widened_bytes) = (2 * wide.len() as u64, 4 * narrow.len() as u64);
    let (submission, staging, settled) = Faults::scoped(device, "the test of f16", || {
        let buffer = |size, usage, mapped_at_creation| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("f16"),
                size,
                usage,
                mapped_at_creation,
            })
        };
        let given = |bytes: &[u8]| {
            let buffer = buffer(bytes.len() as u64, wgpu::BufferUsages::STORAGE, true);
            if let Ok(mut range) = buffer.get_mapped_range_mut(..) {
                range.copy_from_slice(bytes);
            }
            buffer.unmap();
            buffer
        };
        let buffers = [
            given(bytemuck::cast_slice(wide)),
            buffer(narrowed_bytes, written, false),
            given(bytemuck::cast_slice(narrow)),
            buffer(widened_bytes, written, false),
        ];
        let text = TEXT.replace("WIDE", wide_type).replace("NARROW", narrow_type);
        let source = wgpu::ShaderSource::Wgsl(text.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("f16"), source });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("f16"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let entries = (0..)
            .zip(&buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("f16"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries.collect::<Vec<_>>(),
        });
        let staging = buffer(narrowed_bytes + widened_bytes, read, false);
        let mut encoder = device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[]);
            let threads = wide.len().max(narrow.len()) / width;
            pass.dispatch_workgroups((threads as u32).div_ceil(64), 1, 1);
        }
        encoder.copy_buffer_to_buffer(&buffers[1], 0, &staging, 0, narrowed_bytes);
        encoder.copy_buffer_to_buffer(&buffers[3], 0, &staging, narrowed_bytes, widened_bytes);
        let submission = queue.submit([encoder.finish()]);
        let settled = Arc::new(AtomicBool::new(false));
        let mapped = settled.clone();
        staging.map_async(wgpu::MapMode::Read, .., move |_| mapped.store(true, Ordering::Release));
        (submission, staging, settled)
    })?;
    // A submission ends before its mappings do, whose callbacks run in whichever thread polls.
    while !settled.load(Ordering::Acquire) {
        wait(submission.clone())?;
        std::thread::yield_now();
    }
    let failed = |error: wgpu::MapRangeError| Error::Gpu(Fault::Mapping { message: error.to_string() });
    let range = staging.get_mapped_range(..).map_err(failed)?;
    let (narrowed, widened) = range.split_at(narrowed_bytes as usize);
    Ok((bytemuck::pod_collect_to_vec(narrowed), bytemuck::pod_collect_to_vec(widened)))
}
