//! Text from a trained model: one step a token, the state kept, several texts side by side.

use super::model::CharModel;
use crate::cpu::philox;
use crate::data::text::Unit;
use crate::error::{Error, Result};
use crate::ops::indices::Indices;
use crate::tape::Tape;
use crate::tensor::Tensor;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Divides the logits: below 1 sharper, above 1 bolder. 0: always the most probable token.
    pub temperature: f64,
    /// Only the k most probable tokens are considered; 0: all.
    pub top_k: usize,
    /// Only the most probable tokens that together have this probability are considered, above 0 and at most 1 (Holtzman
    /// and others, arXiv 1904.09751).
    pub top_p: f64,
    /// Divides positive logits of tokens that were just used, and multiplies negative ones: 1 or more (Keskar and others,
    /// arXiv 1909.05858).
    pub repetition: f64,
    /// How many tokens count as just used.
    pub repetition_window: usize,
    /// The seed of the random choices.
    pub seed: u64,
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler { temperature: 1.0, top_k: 0, top_p: 1.0, repetition: 1.0, repetition_window: 32, seed: 0 }
    }
}

impl Sampler {
    fn check(&self) -> Result<()> {
        let Sampler { temperature, top_p, repetition, .. } = *self;
        for (name, value, good, range) in [
            ("temperature", temperature, temperature >= 0.0, "0 or more"),
            ("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1"),
            ("repetition", repetition, repetition >= 1.0, "1 or more"),
        ] {
            if !(good && value.is_finite()) {
                return Err(Error::argument("generate", format!("{name} must be {range}, got {value}")));
            }
        }
        Ok(())
    }

    /// The class that is drawn by `logits`, for draw number `draw` of text number `text`. `used` are the tokens before it.
    pub fn choose(&self, logits: &[f32], used: &[i32], text: u32, draw: u64) -> i32 {
        let mut logits: Vec<f64> = logits.iter().map(|x| f64::from(*x)).collect();
        if self.repetition > 1.0 {
            let mut used = used[used.len().saturating_sub(self.repetition_window)..].to_vec();
            used.sort_unstable();
            used.dedup();
            for logit in used.iter().filter_map(|token| usize::try_from(*token).ok()) {
                let logit = &mut logits[logit];
                *logit = if *logit > 0.0 { *logit / self.repetition } else { *logit * self.repetition };
            }
        }
        // Most probable first; the lower index of equals, so that the choice is the same everywhere.
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
        if self.temperature == 0.0 {
            return order[0] as i32;
        }
        if self.top_k > 0 {
            order.truncate(self.top_k);
        }
        let largest = logits[order[0]];
        let weight = |c: &usize| ((logits[*c] - largest) / self.temperature).exp();
        let mut total: f64 = order.iter().map(weight).sum();
        if self.top_p < 1.0 {
            let (mut sum, mut count) = (0.0, 0);
            while count == 0 || count < order.len() && sum < self.top_p * total {
                sum += weight(&order[count]);
                count += 1;
            }
            order.truncate(count);
            total = sum;
        }
        let mut left = f64::from(philox::uniform(self.seed, text, draw)) * total;
        for c in &order {
            left -= weight(c);
            if left < 0.0 {
                return *c as i32;
            }
        }
        *order.last().expect("a model has at least one class") as i32
    }
}

/// How many of a model's characters an error lists.
const SHOWN: usize = 100;

/// Texts that a model continues, a token at each call of [`Generate::advance`].
#[derive(Debug)]
pub struct Generate<'m> {
    model: &'m CharModel,
    sampler: Sampler,
    tape: Tape,
    /// The layers' states behind the texts so far.
    states: Vec<Tensor>,
    /// Logits of the next tokens: [N, C].
    logits: Vec<f32>,
    /// What each text holds so far.
    texts: Vec<Vec<i32>>,
    drawn: u64,
}

impl<'m> Generate<'m> {
    /// Reads the prompt, with which each of `samples` texts begins.
    ///
    /// # Errors
    /// [`Error::Argument`] when the prompt is empty or has a character that the model has never seen, there is to be no
    /// text, or an option of the sampler is out of its range; otherwise as [`Generate::advance`].
    pub fn new(model: &'m CharModel, prompt: &str, sampler: Sampler, samples: usize) -> Result<Self> {
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
        if samples == 0 {
            return Err(Error::argument("generate", "there must be at least one sample"));
        }
        let mut generate = Generate {
            model,
            sampler,
            tape: Tape::new(&model.parameters),
            states: Vec::new(),
            logits: Vec::new(),
            texts: vec![tokens.clone(); samples],
            drawn: 0,
        };
        let side_by_side: Vec<i32> = tokens.iter().flat_map(|token| vec![*token; samples]).collect();
        generate.read(&side_by_side)?;
        Ok(generate)
    }

    /// Runs the model over tokens [T, N].
    fn read(&mut self, tokens: &[i32]) -> Result<()> {
        let shape = [tokens.len() / self.texts.len(), self.texts.len()];
        let tokens = Indices::new(self.model.parameters.device(), shape, tokens)?;
        let (model, before) = (self.model, std::mem::take(&mut self.states));
        self.tape.clear();
        let (logits, after) = self.tape.no_grad(|tape| {
            let before: Vec<_> = before.iter().map(|state| tape.constant(state)).collect();
            let (logits, output) = model.forward(tape, &tokens, &before)?;
            let last = tape.select(logits, 0, shape[0] - 1)?;
            Ok((last, output.states(tape)?))
        })?;
        self.states =
            after.into_iter().map(|state| self.tape.value(state).cloned()).collect::<Result<_>>()?;
        self.logits = self.tape.value(logits)?.to_vec()?;
        match self.logits.iter().all(|x| x.is_finite()) {
            true => Ok(()),
            false => Err(Error::NonFinite { what: "the model's output".into(), at: None }),
        }
    }

    /// Adds a token to each text. Gives, for each text, the bytes that it adds: a character in UTF-8, or one byte.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when the model's weights are so large that its output is; [`Error::Gpu`] on a fault.
    pub fn advance(&mut self) -> Result<Vec<Vec<u8>>> {
        let vocabulary = &self.model.vocabulary;
        let rows = self.logits.chunks_exact(vocabulary.len()).zip(&self.texts).zip(0..);
        let tokens: Vec<i32> =
            rows.map(|((row, text), n)| self.sampler.choose(row, text, n, self.drawn)).collect();
        self.drawn += 1;
        self.read(&tokens)?;
        self.texts.iter_mut().zip(&tokens).for_each(|(text, token)| text.push(*token));
        let part = |token: &i32| match vocabulary.unit() {
            Unit::Characters => vocabulary.decode(&[*token]).into_bytes(),
            Unit::Bytes => vec![*token as u8],
        };
        Ok(tokens.iter().map(part).collect())
    }
}
