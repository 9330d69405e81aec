//! From a unit of the topmost layer to the loss.

use super::forward::products;
use super::{Line, Term, Unit};
use crate::explain::walk::Target;

impl Unit<'_> {
    /// What its step gives, the loss of that, and the gradient that begins there; nothing of a layer below, or of a step
    /// without output.
    pub fn loss(&self) -> Vec<Line> {
        let Some(row) = self.walk.outputs.row(self.t).filter(|_| self.is_on_top()) else { return Vec::new() };
        match &self.walk.outputs.target {
            Target::Classes { labels, probabilities } => {
                self.cross_entropy(row, labels[row], &probabilities[row])
            }
            Target::Values(targets) => {
                // Without a linear layer a unit is an output.
                let outputs =
                    if self.walk.linear.is_some() { 0..targets[row].len() } else { self.k..self.k + 1 };
                outputs.flat_map(|output| self.squared_error(row, output, targets[row][output])).collect()
            }
        }
    }

    /// Of the label, and where each unit is a class of the unit's too.
    fn cross_entropy(&self, row: usize, label: usize, probabilities: &[f64]) -> Vec<Line> {
        let (walk, outputs) = (self.walk, &self.walk.outputs);
        let count = outputs.count;
        let mut classes = vec![label];
        if walk.linear.is_none() && self.k != label {
            classes.insert(0, self.k);
        }
        let mut lines: Vec<Line> =
            classes.iter().filter_map(|class| self.of_linear("logits", row, *class)).collect();
        let logits = &outputs.y[row];
        let power = |(c, logit): (usize, &f64)| Term::new(format!("e^logits[{c}]"), &[logit.exp()]);
        let powers: Vec<Term> = logits.iter().enumerate().map(power).collect();
        let sum = Line::sum("S", "Σ_c e^logits[c]", powers).places(walk.loss_places("S"));
        let share = 1.0 / sum.computed;
        lines.push(sum);
        for class in &classes {
            let term = Term::new(format!("e^logits[{class}]·(1/S)"), &[logits[*class].exp(), share]);
            let line = Line::sum(format!("p[{class}]"), format!("e^logits[{class}] / S"), vec![term]);
            lines.push(line.places(walk.loss_places("p")));
        }
        let term = Term::new(format!("p[{label}]"), &[probabilities[label]]);
        let loss = Line::new(
            "loss",
            format!("−ln p[{label}]: step {} is to name class {label}", self.t),
            |p| -p.ln(),
            vec![term],
        );
        lines.push(loss.device(outputs.losses[row][0]).places(walk.loss_places("loss")));
        for class in classes {
            let hit = f64::from(class == label);
            let (formula, name) = match class == label {
                true => (format!("(p[{class}] − 1) / {count}"), format!("(p[{class}] − 1)·(1/{count})")),
                false => (format!("p[{class}] / {count}"), format!("p[{class}]·(1/{count})")),
            };
            let term = Term::new(name, &[probabilities[class] - hit, outputs.scale]);
            let line =
                Line::sum(format!("dlogits[{class}]"), formula, vec![term]).device(outputs.dy[row][class]);
            lines.push(line.places(walk.loss_places("dlogits")));
        }
        lines
    }

    fn squared_error(&self, row: usize, output: usize, target: f64) -> Vec<Line> {
        let (walk, outputs) = (self.walk, &self.walk.outputs);
        let (y, count) = (outputs.y[row][output], outputs.count);
        let mut lines: Vec<Line> = self.of_linear("y", row, output).into_iter().collect();
        let name = if walk.linear.is_some() { format!("y[{output}]") } else { format!("h_t[{output}]") };
        let terms = vec![Term::new(&*name, &[y]), Term::new("−target", &[-target])];
        lines.push(Line::sum("e", format!("{name} − target"), terms));
        let loss = Line::product("loss", "e·e", &[y - target, y - target]);
        lines.push(loss.device(outputs.losses[row][output]).places(walk.loss_places("loss")));
        let formula = format!("2 · e · (1/{count})");
        let line = Line::product(format!("dL/d{name}"), formula, &[2.0, y - target, outputs.scale]);
        lines.push(line.device(outputs.dy[row][output]).places(walk.loss_places("dy")));
        lines
    }

    /// An output of the linear layer, where there is one.
    fn of_linear(&self, name: &str, row: usize, output: usize) -> Option<Line> {
        let linear = self.walk.linear.as_ref()?;
        let terms = products("h_t", &linear.x[row], ["W", "b"], linear, output);
        let line = Line::sum(format!("{name}[{output}]"), "h_t·Wᵀ + b", terms);
        Some(line.device(self.walk.outputs.y[row][output]).places(self.walk.linear_places()))
    }
}
