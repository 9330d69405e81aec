//! Text from a trained model: one step a character, the state kept.

use super::model::CharModel;
use crate::cpu::philox;
use crate::error::{Error, Result};
use crate::ops::indices::Indices;
use crate::tape::Tape;
use crate::tensor::Tensor;

/// How the next character is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Divides the logits: below 1 sharper, above 1 bolder. 0: always the most probable character.
    pub temperature: f64,
    /// Only the k most probable characters are considered; 0: all.
    pub top_k: usize,
    /// Of the random choices.
    pub seed: u64,
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler { temperature: 1.0, top_k: 0, seed: 0 }
    }
}

impl Sampler {
    fn check(&self) -> Result<()> {
        match self.temperature >= 0.0 && self.temperature.is_finite() {
            true => Ok(()),
            false => Err(Error::argument(
                "generate",
                format!("temperature must be 0 or more, got {}", self.temperature),
            )),
        }
    }

    /// The class drawn from logits, for draw number `draw`.
    pub fn choose(&self, logits: &[f32], draw: u64) -> i32 {
        // Most probable first; the lower index of equals, so that the choice is the same everywhere.
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        if self.temperature == 0.0 {
            return order[0] as i32;
        }
        if self.top_k > 0 {
            order.truncate(self.top_k);
        }
        let largest = f64::from(logits[order[0]]);
        let weight = |c: usize| ((f64::from(logits[c]) - largest) / self.temperature).exp();
        let total: f64 = order.iter().map(|c| weight(*c)).sum();
        let mut left = f64::from(philox::uniform(self.seed, 0, draw)) * total;
        for c in &order {
            left -= weight(*c);
            if left < 0.0 {
                return *c as i32;
            }
        }
        *order.last().expect("a model has at least one class") as i32
    }
}

/// How many of a model's characters an error lists.
const SHOWN: usize = 100;

/// A text that goes on for as long as it is asked for the next character.
#[derive(Debug)]
pub struct Generate<'m> {
    model: &'m CharModel,
    sampler: Sampler,
    tape: Tape,
    state: Option<Tensor>,
    /// Logits of the next character.
    logits: Vec<f32>,
    drawn: u64,
}

impl<'m> Generate<'m> {
    /// Reads the prompt.
    ///
    /// # Errors
    /// [`Error::Argument`] when the prompt is empty or has a character that the model has never seen, or the temperature
    /// is out of its range; otherwise as [`Generate::next_char`].
    pub fn new(model: &'m CharModel, prompt: &str, sampler: Sampler) -> Result<Self> {
        sampler.check()?;
        let tokens = model.vocabulary.encode(prompt).map_err(|unknown| {
            let known = model.vocabulary.chars();
            let (shown, more) = (known.iter().take(SHOWN).collect::<String>(), known.len() > SHOWN);
            let message = format!(
                "the model has never seen {:?}, character {} of the prompt; it knows {shown:?}{}",
                unknown.character,
                unknown.position,
                if more { format!(" and {} more", known.len() - SHOWN) } else { String::new() }
            );
            Error::argument("generate", message)
        })?;
        if tokens.is_empty() {
            return Err(Error::argument("generate", "the prompt is empty: give it at least one character"));
        }
        let tape = Tape::new(&model.parameters);
        let mut generate = Generate { model, sampler, tape, state: None, logits: Vec::new(), drawn: 0 };
        generate.read(&tokens)?;
        Ok(generate)
    }

    /// Runs the model over the tokens.
    fn read(&mut self, tokens: &[i32]) -> Result<()> {
        let tokens = Indices::new(self.model.parameters.device(), [tokens.len(), 1], tokens)?;
        let (model, state) = (self.model, self.state.take());
        self.tape.clear();
        let (logits, h_n) = self.tape.no_grad(|tape| {
            let h0 = state.map(|state| tape.constant(&state));
            let (logits, states) = model.forward(tape, &tokens, h0)?;
            let last = tape.select(logits, 0, tokens.count() - 1)?;
            Ok((last, states.h_n(tape)?))
        })?;
        self.state = Some(self.tape.value(h_n)?.clone());
        self.logits = self.tape.value(logits)?.to_vec()?;
        match self.logits.iter().all(|x| x.is_finite()) {
            true => Ok(()),
            false => Err(Error::NonFinite { what: "the model's output".into(), at: None }),
        }
    }

    /// The next character.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when the model's weights are so large that its output is; [`Error::Gpu`] on a fault.
    pub fn next_char(&mut self) -> Result<char> {
        let token = self.sampler.choose(&self.logits, self.drawn);
        self.drawn += 1;
        self.read(&[token])?;
        Ok(self.model.vocabulary.chars()[token as usize])
    }
}
