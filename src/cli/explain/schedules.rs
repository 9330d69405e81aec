//! Every schedule of the recurrent layers.

use bptt::device::Device;
use bptt::error::Result;
use bptt::explain::{LayerSchedules, Steps, schedules};
use bptt::parameters::Precision;
use serde_json::json;

use super::super::output::{Output, with_commas};
use super::time;

pub fn show(title: &str, device: &Device, steps: &mut dyn Steps, output: Output) -> Result<()> {
    steps.step()?;
    let layers = schedules(steps.tape())?;
    output.line(format!("the recurrent layers of {title} on {}, forward and backward", device.info()))?;
    for LayerSchedules { cell, sizes: [time_steps, batch, input, hidden], precision, ways } in &layers {
        let stored = match precision {
            Precision::F32 => String::new(),
            half => format!(", in {}", half.name()),
        };
        output.line(format!("\n{cell}: T {time_steps}, B {batch}, I {input}, H {hidden}{stored}"))?;
        output.line(format!(
            "  {:44} {:>8} {:>14} {:>11} {:>11} {:>11}",
            "", "launches", "bytes", "in kernels", "in all", "difference"
        ))?;
        for way in ways {
            output.line(format!(
                "  {:44} {:>8} {:>14} {:>11} {:>11} {:>11.1e}",
                way.name,
                way.launches,
                with_commas(way.bytes),
                time(way.seconds),
                time(way.wall),
                way.difference
            ))?;
        }
    }
    output.line(
        "\nBytes are those that have to be read and written. The difference is the largest from the results of single \
         operations, outputs and gradients, as a share of the largest number of the tensor.",
    )?;
    output.event(&json!({
        "event": "schedules", "what": title, "device": device.info().to_string(), "layers": layers,
    }))
}
