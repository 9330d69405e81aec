//! One unit at one step: every product and sum that leads to it, with the line of the shader that makes it, and its gradients
//! beside finite differences.

mod backward;
mod forward;
mod loss;
mod places;

use serde::Serialize;

use super::walk::{Walk, WalkLayer};
use crate::error::{Error, Result};

pub use places::Products;

/// A unit of a layer at a step.
#[derive(Clone, Debug, Serialize)]
pub struct At {
    /// The layer.
    pub layer: usize,
    /// t.
    pub step: usize,
    /// k.
    pub unit: usize,
    /// Forward, then the loss of the step where it has one, then backward.
    pub lines: Vec<Line>,
}

/// A number and how it comes to be.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What it is, `a_i` say.
    pub name: String,
    /// Its formula, in the terms of the shader's header.
    pub formula: String,
    /// Factors and summands: the number is the sum of their products, then perhaps a function of it.
    pub terms: Vec<Term>,
    /// What the terms come to, in 64 bits.
    pub computed: f64,
    /// What the device has computed; none of what no buffer keeps.
    pub device: Option<f64>,
    /// The finite difference of the loss, of a gradient that has one.
    pub difference: Option<f64>,
    /// Files and lines of the shaders that compute it: first the products, where there are any.
    pub places: Vec<String>,
}

/// A product of numbers, one of which may stand alone.
#[derive(Clone, Debug, Serialize)]
pub struct Term {
    /// What it is, `h[2]·W_hh[0, 2]` say.
    pub name: String,
    /// The factors.
    pub factors: Vec<f64>,
}

impl Term {
    fn new(name: impl Into<String>, factors: &[f64]) -> Term {
        Term { name: name.into(), factors: factors.to_vec() }
    }

    fn value(&self) -> f64 {
        self.factors.iter().product()
    }
}

impl Line {
    /// A function of a sum of products.
    fn new(
        name: impl Into<String>,
        formula: impl Into<String>,
        function: fn(f64) -> f64,
        terms: Vec<Term>,
    ) -> Line {
        Line {
            name: name.into(),
            formula: formula.into(),
            computed: function(terms.iter().map(Term::value).sum()),
            terms,
            device: None,
            difference: None,
            places: Vec::new(),
        }
    }

    /// A sum of products.
    fn sum(name: impl Into<String>, formula: impl Into<String>, terms: Vec<Term>) -> Line {
        Line::new(name, formula, |sum| sum, terms)
    }

    /// A product.
    fn product(name: impl Into<String>, formula: impl Into<String> + Clone, factors: &[f64]) -> Line {
        let term = Term::new(formula.clone(), factors);
        Line::sum(name, formula, vec![term])
    }

    fn device(self, device: f64) -> Line {
        Line { device: Some(device), ..self }
    }

    fn places(self, places: Vec<String>) -> Line {
        Line { places, ..self }
    }
}

/// The unit that lines are about.
struct Unit<'w> {
    walk: &'w Walk,
    index: usize,
    layer: &'w WalkLayer,
    t: usize,
    k: usize,
}

impl Walk {
    /// Unit `unit` of a layer at step `step`.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is none such.
    pub fn at(&self, layer: usize, step: usize, unit: usize) -> Result<At> {
        let Some(found) = self.layers.get(layer) else {
            let message = format!("--layer must be from 0 to {}, got {layer}", self.layers.len() - 1);
            return Err(Error::argument("explain", message));
        };
        let (time, hidden) = (self.time(), found.hidden());
        if step >= time || unit >= hidden {
            let message = format!(
                "--at takes a step from 0 to {} and a unit from 0 to {}, got {step},{unit}",
                time - 1,
                hidden - 1
            );
            return Err(Error::argument("explain", message));
        }
        let of = Unit { walk: self, index: layer, layer: found, t: step, k: unit };
        let mut lines = of.forward();
        lines.extend(of.loss());
        lines.extend(of.backward()?);
        Ok(At { layer, step, unit, lines })
    }
}

impl Unit<'_> {
    /// Whether step t is the last.
    fn is_last(&self) -> bool {
        self.t + 1 == self.walk.time()
    }

    /// Whether the layer is the one that the outputs come from.
    fn is_on_top(&self) -> bool {
        self.index + 1 == self.walk.layers.len()
    }

    /// A gate of the unit at this step.
    fn gate(&self, gate: usize) -> f64 {
        self.layer.gates[gate].1[self.t][self.k]
    }
}
