//! `bptt train --profile`: what a training did, by the device's own counters and clock.

use bptt::device::{self, Detail, Device, KernelTime, Stats};
use bptt::error::Result;
use bptt::train::readable;
use serde_json::{Value, json};

use super::output::Output;

/// From the begin of a training on.
pub struct Profile {
    device: Device,
}

impl Profile {
    pub fn start(device: &Device) -> Result<Profile> {
        device.start_profile(Detail::Kernels)?;
        Ok(Profile { device: device.clone() })
    }

    /// Prints what a step took: averages over a run of `steps`. A training [leaves out](Device::pause_profile) what is no step
    /// of it: preparation, validations, checkpoints.
    pub fn finish(self, output: Output, steps: u64) -> Result<()> {
        let device::Profile { kernels: times, submits, .. } = self.device.finish_profile()?;
        let Stats { bytes_peak, bytes_held, .. } = self.device.stats();
        let per_step = |count: u64| count as f64 / steps.max(1) as f64;
        let launches = per_step(times.iter().map(|time| time.launches).sum());
        let submits = per_step(submits);
        let total: f64 = times.iter().map(|time| time.seconds).sum();
        let (peak, held) = (readable(bytes_peak), readable(bytes_held));
        output.line(format!(
            "a step: {launches:.1} launches, {submits:.1} submissions, {:.3} ms in kernels; at most {peak} of tensors at once, \
             {held} with those kept for reuse",
            per_step(1) * total * 1e3
        ))?;
        output.line(format!("{:24} {:>10} {:>10} {:>6}", "kernel", "launches", "ms", "share"))?;
        for KernelTime { kernel, launches, seconds } in &times {
            output.line(format!(
                "{kernel:24} {:10.2} {:10.4} {:5.1}%",
                per_step(*launches),
                per_step(1) * seconds * 1e3,
                100.0 * seconds / total
            ))?;
        }
        let kernels: Vec<Value> = times
            .iter()
            .map(|time| {
                json!({
                    "kernel": time.kernel, "launches": per_step(time.launches), "ms": per_step(1) * time.seconds * 1e3,
                })
            })
            .collect();
        output.event(&json!({
            "event": "profile", "launches": launches, "submits": submits, "kernel_ms": per_step(1) * total * 1e3,
            "bytes_peak": bytes_peak, "bytes_held": bytes_held, "kernels": kernels,
        }))
    }
}
