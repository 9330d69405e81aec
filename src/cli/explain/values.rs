//! The numbers of a step.

use bptt::error::Result;
use bptt::explain::{Affine, Gradient, Target, Walk};
use bptt::nn::CellKind;
use bptt::parameters::Precision;
use serde_json::json;

use super::super::output::Output;
use super::rows::{affine, gates, grown, line, norm, small};
use super::{at, cells, number};

/// What is shown: a walk, and what it is called.
pub struct Shown<'a> {
    pub title: &'a str,
    pub device: String,
    /// The symbols of a text's classes.
    pub vocabulary: Vec<char>,
    pub walk: &'a Walk,
}

impl Shown<'_> {
    /// The whole walk, or one unit of a layer at a step.
    pub fn show(&self, unit: Option<(usize, (usize, usize))>, output: Output) -> Result<()> {
        let at = unit.map(|(layer, (step, unit))| self.walk.at(layer, step, unit)).transpose()?;
        match &at {
            None => self.print(output)?,
            Some(found) => at::print(self, found, output)?,
        }
        output.event(&json!({
            "event": "values", "what": self.title, "device": self.device, "walk": self.walk,
            "reference_loss": self.walk.reference_loss()?, "at": at,
        }))
    }

    /// Which sample it is, of several.
    pub fn sample(&self) -> String {
        let Walk { batch, sample, .. } = self.walk;
        if *batch == 1 { String::new() } else { format!(", sample {sample} of {batch}") }
    }

    /// The symbol of a class.
    fn symbol(&self, class: usize) -> String {
        self.vocabulary.get(class).map_or(format!("class {class}"), |symbol| format!("{symbol:?}"))
    }

    fn print(&self, output: Output) -> Result<()> {
        let walk = self.walk;
        let (title, device) = (self.title, &self.device);
        output.line(format!("one training step of {title} on {device} in numbers{}", self.sample()))?;
        output.line(
            "Each row has a name, a number for each unit, its equation, and the line of the shader that computes it. Where the \
             equation has a matrix product, the line that adds up the product comes first.",
        )?;
        if walk.by_twins {
            output.line("The CPU runs each shader's twin: src/cpu/NAME.rs for shaders/NAME.wgsl.")?;
        }
        if walk.precision != Precision::F32 {
            let stored = walk.precision.name();
            output.line(format!(
                "Between kernels numbers are stored as {stored}; no loss scale is applied here."
            ))?;
        }
        if !self.vocabulary.is_empty() {
            let symbol = |class| format!("{class} {}", self.symbol(class));
            let symbols: Vec<String> = (0..self.vocabulary.len()).map(symbol).collect();
            output.line(format!("classes: {}", symbols.join(", ")))?;
        }
        for (index, layer) in walk.layers.iter().enumerate() {
            output.line(format!("\nlayer {index}: parameters"))?;
            for (of, [w, b]) in [(&layer.input, ["W_ih", "b_ih"]), (&layer.state, ["W_hh", "b_hh"])] {
                affine(output, [w, b], gates(walk.cell), &of.w, &of.b)?;
            }
        }
        if let Some(linear) = &walk.linear {
            output.line("\nlinear layer: parameters")?;
            affine(output, ["W", "b"], &[""], &linear.w, &linear.b)?;
        }
        (0..walk.time()).try_for_each(|t| self.forward(t, output))?;
        output.line(format!(
            "\nthe loss is the mean of {}: {:.8}; in 64 bits {:.8}",
            self.losses(),
            walk.outputs.loss,
            walk.reference_loss()?
        ))?;
        (0..walk.time()).rev().try_for_each(|t| self.backward(t, output))?;
        self.gradients(output)?;
        output
            .line("\n--at T,K shows one unit at one step, product by product, beside finite differences.")?;
        match walk.batch {
            1 => Ok(()),
            _ => output.line("--sample N walks along another sample of the batch."),
        }
    }

    /// What the loss is the mean of.
    fn losses(&self) -> String {
        let Walk { outputs, batch, .. } = self.walk;
        let kind = match outputs.target {
            Target::Classes { .. } => "cross-entropies",
            Target::Values(_) => "squared errors",
        };
        let samples = if *batch == 1 { String::new() } else { format!(" of {batch} samples") };
        format!("{} {kind}{samples}", outputs.count)
    }

    fn forward(&self, t: usize, output: Output) -> Result<()> {
        let walk = self.walk;
        let row = walk.outputs.row(t);
        let mut about = Vec::new();
        if !self.vocabulary.is_empty() {
            let read = walk.layers[0].input.x[t].iter().position(|x| *x == 1.0);
            about.extend(read.map(|class| format!("reads {}", self.symbol(class))));
        }
        if let (Target::Classes { labels, .. }, Some(row)) = (&walk.outputs.target, row) {
            about.push(format!("should say {}", self.symbol(labels[row])));
        }
        let about = if about.is_empty() { String::new() } else { format!(": {}", about.join(", ")) };
        output.line(format!("\nforward, step {t}{about}"))?;
        for index in 0..walk.layers.len() {
            self.name_layer(index, output)?;
            cells::forward(walk, index, t, output)?;
        }
        row.map_or(Ok(()), |row| self.outputs(row, output))
    }

    /// What comes out of a step, and its loss.
    fn outputs(&self, row: usize, output: Output) -> Result<()> {
        let (walk, outputs) = (self.walk, &self.walk.outputs);
        let formula = if walk.linear.is_some() { "h_t·Wᵀ + b" } else { "h_t itself" };
        let (y, places) = (&outputs.y[row], walk.linear_places());
        let loss =
            |formula: &str| line(output, "loss", &outputs.losses[row], formula, &walk.loss_places("loss"));
        match &outputs.target {
            Target::Classes { labels, probabilities } => {
                line(output, "logits", y, formula, &places)?;
                line(output, "p", &probabilities[row], "softmax of the logits", &walk.loss_places("p"))?;
                loss(&format!("−ln p[{}]", labels[row]))
            }
            Target::Values(targets) => {
                line(output, "y", y, formula, &places)?;
                line(output, "target", &targets[row], "", &[])?;
                loss("(y − target)²")
            }
        }
    }

    fn backward(&self, t: usize, output: Output) -> Result<()> {
        let (walk, outputs) = (self.walk, &self.walk.outputs);
        output.line(format!("\nbackward, step {t}"))?;
        if let Some(row) = outputs.row(t) {
            let count = outputs.count;
            let (name, formula, place) = match &outputs.target {
                Target::Classes { labels, .. } => {
                    ("dlogits", format!("(p − [c = {}]) / {count}", labels[row]), "dlogits")
                }
                Target::Values(_) => ("dL/dy", format!("2(y − target) / {count}"), "dy"),
            };
            line(output, name, &outputs.dy[row], &formula, &walk.loss_places(place))?;
            if let Some(linear) = &walk.linear {
                grown(linear, row, t, ["dW", &format!("{name}_sᵀ·h_s")], output)?;
            }
        }
        for index in (0..walk.layers.len()).rev() {
            self.name_layer(index, output)?;
            cells::backward(walk, index, t, output)?;
        }
        Ok(())
    }

    /// Above the numbers of a layer, where there are several.
    fn name_layer(&self, index: usize, output: Output) -> Result<()> {
        if self.walk.layers.len() > 1 { output.line(format!(" layer {index}")) } else { Ok(()) }
    }

    fn gradients(&self, output: Output) -> Result<()> {
        let walk = self.walk;
        output.line("\nthe gradients of the parameters: the device adds up all steps in one launch each")?;
        let state = if walk.cell == CellKind::Gru {
            ["Σ_t da_h_tᵀ·h", "Σ_t da_h_t"]
        } else {
            ["Σ_t da_tᵀ·h", "Σ_t da_t"]
        };
        for (index, layer) in walk.layers.iter().enumerate() {
            self.name_layer(index, output)?;
            let of = gates(walk.cell);
            self.gradient(&layer.input, of, ["dW_ih", "db_ih"], ["Σ_t da_tᵀ·x_t", "Σ_t da_t"], output)?;
            self.gradient(&layer.state, of, ["dW_hh", "db_hh"], state, output)?;
        }
        let Some(linear) = &walk.linear else { return Ok(()) };
        output.line(" linear layer")?;
        let formulas = match walk.outputs.target {
            Target::Classes { .. } => ["Σ_t dlogits_tᵀ·h_t", "Σ_t dlogits_t"],
            Target::Values(_) => ["Σ dL/dyᵀ·h_t", "Σ dL/dy"],
        };
        self.gradient(linear, &[""], ["dW", "db"], formulas, output)
    }

    /// The gradients of a weight and its bias as the device has them, and what they are made of.
    fn gradient(
        &self,
        of: &Affine,
        gates: &[&str],
        [dw, db]: [&str; 2],
        [dw_is, db_is]: [&str; 2],
        output: Output,
    ) -> Result<()> {
        output.line(format!("  {dw} = {dw_is}, {db} = {db_is}"))?;
        let show = |gradient: &Gradient| affine(output, [dw, db], gates, &gradient.dw, &gradient.db);
        show(&of.device)?;
        if self.walk.batch == 1 {
            return output.line(format!("  the steps above add up to this within {:.1e}", of.gap()));
        }
        let others = match self.walk.batch - 1 {
            1 => "the other sample".into(),
            others => format!("the {others} other samples"),
        };
        for (whose, gradient) in [("this sample".into(), &of.grown(0)), (others, &of.others)] {
            if small(&gradient.dw) {
                output.line(format!("  of which {whose}:"))?;
                show(gradient)?;
            } else {
                let norms =
                    [norm(gradient.dw.iter().flatten()), norm(&gradient.db)].map(|norm| number(norm, 6));
                output.line(format!(
                    "  of which {whose}: {dw} of norm {}, {db} of norm {}",
                    norms[0], norms[1]
                ))?;
            }
        }
        output.line(format!("  the two add up to the device's within {:.1e}", of.gap()))
    }
}
