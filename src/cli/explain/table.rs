//! The step, node by node.

use std::collections::HashSet;

use bptt::bench::Roofline;
use bptt::device::Device;
use bptt::error::Result;
use bptt::explain::{Choice, Explanation, Part, Steps, explain};
use serde_json::json;

use super::super::output::{Output, with_commas};
use super::time;

/// Steps before those that are looked at, in which kernels are compiled.
const WARMUP: usize = 3;
/// Ways of a choice that are shown.
const SHOWN: usize = 4;

pub fn show(title: &str, device: &Device, steps: &mut dyn Steps, output: Output) -> Result<()> {
    let roofline = Roofline::measure(device)?;
    let explained = explain(steps, WARMUP, Some(&roofline))?;
    let nodes = explained.parts.iter().filter(|part| part.pass == "forward" && part.node.is_some()).count();
    let launches: usize =
        explained.parts.iter().flat_map(|part| &part.launches).map(|launch| launch.count).sum();
    output.line(format!("a training step of {title} on {}: loss {:.4}", explained.device, explained.loss))?;
    output.line(format!(
        "{nodes} nodes of the tape, {launches} launches, {} in kernels; the device copies {:.1} GB/s and makes {:.1} GFLOP/s",
        time(explained.seconds),
        roofline.bytes_per_second / 1e9,
        roofline.operations_per_second / 1e9
    ))?;
    output.line(
        "An operation is one of + − · / max min e^x ln √ tanh σ. The bound is the least time at the device's rates: to read and \
         write each byte once, or to make the operations, whichever takes longer. Data in caches may come sooner.",
    )?;
    let mut seen = HashSet::new();
    for part in &explained.parts {
        show_part(part, &mut seen, output)?;
    }
    let sum = |of: fn(&Explanation) -> u64| {
        explained.parts.iter().flat_map(|part| &part.launches).map(of).sum::<u64>()
    };
    let operations = sum(|launch| launch.operations.unwrap_or_default());
    output.line(format!(
        "\nin all {} operations and {} bytes in {}",
        with_commas(operations),
        with_commas(sum(|launch| launch.bytes)),
        time(explained.seconds)
    ))?;
    output.event(&json!({
        "event": "explained", "what": title, "bytes_per_second": roofline.bytes_per_second,
        "operations_per_second": roofline.operations_per_second, "step": explained,
    }))
}

fn show_part(part: &Part, seen: &mut HashSet<&'static str>, output: Output) -> Result<()> {
    let node = part.node.map_or(String::new(), |node| format!(", node {node}"));
    let operation = if part.pass == part.operation { String::new() } else { format!(": {}", part.operation) };
    output.line(format!("\n{}{node}{operation}", part.pass))?;
    if !part.inputs.is_empty() {
        output.line(format!("    {} -> {}", part.inputs.join(", "), part.outputs.join(", ")))?;
    }
    let gradients =
        part.about.iter().position(|line| line.starts_with("Gradient")).unwrap_or(part.about.len());
    let about = if part.pass == "forward" { &part.about[..] } else { &part.about[gradients..] };
    for line in about {
        output.line(format!("    {line}"))?;
    }
    part.launches.iter().try_for_each(|launch| show_launch(launch, seen.insert(launch.kernel), output))
}

/// A launch, with its equations where it is the first of its kernel.
fn show_launch(launch: &Explanation, first: bool, output: Output) -> Result<()> {
    let [x, y, z] = launch.grid;
    let times = if launch.count > 1 { format!("{} launches, each ", launch.count) } else { String::new() };
    output.line(format!(
        "  {} ({}; {}): {times}{x} x {y} x {z} workgroups",
        launch.kernel,
        launch.variant,
        launch.files.join(" & ")
    ))?;
    for line in launch.equations.iter().filter(|_| first) {
        output.line(format!("      {line}"))?;
    }
    let sizes = ["m", "n", "k", "batch", "hidden", "time", "steps", "rows", "cols", "classes", "count"];
    let sizes = launch.params.iter().filter(|(name, _)| sizes.contains(name));
    let sizes: String = sizes.map(|(name, value)| format!("{name} {value}; ")).collect();
    let present = launch.arguments.iter().filter(|argument| argument.bytes > 0);
    let buffers: Vec<String> = present
        .map(|argument| {
            let moved = match (argument.read, argument.written) {
                (0, written) => format!("{} written", with_commas(written)),
                (read, 0) => format!("{} read", with_commas(read)),
                (read, written) => format!("{} read, {} written", with_commas(read), with_commas(written)),
            };
            format!("{} {} ({moved})", argument.name, with_commas(argument.bytes))
        })
        .collect();
    output.line(format!("      {sizes}bytes: {}", buffers.join(", ")))?;
    let operations =
        launch.operations.map_or("operations unknown".into(), |n| format!("{} operations", with_commas(n)));
    let intensity = launch.intensity.map_or(String::new(), |x| format!(" ({x:.2} a byte)"));
    let bound = launch.bound.map_or(String::new(), |bound| {
        let share = 100.0 * bound.seconds / launch.seconds;
        format!(", {share:.0} % of the possible speed: bound {} by {}", time(bound.seconds), bound.by)
    });
    output.line(format!("      {operations}{intensity}; took {}{bound}", time(launch.seconds)))?;
    launch.choice.as_ref().map_or(Ok(()), |choice| output.line(format!("      {}", why(choice))))
}

fn why(choice: &Choice) -> String {
    let estimate = |seconds: Option<f64>| seconds.map_or("cannot".into(), time);
    let ways: Vec<String> =
        choice.ways.iter().take(SHOWN).map(|way| format!("{} {}", way.way, estimate(way.seconds))).collect();
    let more = choice.ways.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let ways =
        if ways.is_empty() { String::new() } else { format!("; estimates: {}{more}", ways.join(", ")) };
    format!("{}: {}{ways}", choice.taken, choice.reason)
}
