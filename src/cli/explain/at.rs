//! One unit at one step.

use bptt::error::Result;
use bptt::explain::At;

use super::super::output::Output;
use super::number;
use super::values::Shown;

pub fn print(shown: &Shown<'_>, at: &At, output: Output) -> Result<()> {
    let layer = if shown.walk.layers.len() > 1 { format!(" of layer {}", at.layer) } else { String::new() };
    output.line(format!(
        "unit {}{layer} at step {} of {} on {}{}",
        at.unit,
        at.step,
        shown.title,
        shown.device,
        shown.sample()
    ))?;
    for line in &at.lines {
        let text = format!("\n{} = {}   {}", line.name, line.formula, line.places.join(" "));
        output.line(text.trim_end())?;
        for term in &line.terms {
            let factors: Vec<String> = term.factors.iter().map(|x| number(*x, 6)).collect();
            let product: f64 = term.factors.iter().product();
            let product =
                if factors.len() > 1 { format!(" = {}", number(product, 6)) } else { String::new() };
            output.line(format!("    {:28} {}{product}", term.name, factors.join(" · ")))?;
        }
        if line.terms.len() > 1 {
            let sum: f64 = line.terms.iter().map(|term| term.factors.iter().product::<f64>()).sum();
            output.line(format!("    {:28} {}", "their sum", number(sum, 6)))?;
        }
        let device = line.device.map_or(String::new(), |x| format!("; the device has {}", number(x, 8)));
        output.line(format!("  {} = {}{device}", line.name, number(line.computed, 8)))?;
        if let Some(difference) = line.difference {
            output.line(format!("  finite difference of the loss: {}", number(difference, 8)))?;
        }
    }
    Ok(())
}
