//! Look-up of rows: torch.nn.functional.embedding.

use super::indices::{Indices, PART};
use crate::cpu::embedding::{EMBEDDING, Embedding};
use crate::cpu::embedding_backward::{EMBEDDING_BACKWARD, EmbeddingBackward, NO_PADDING};
use crate::error::{Error, Result};
use crate::kernel::Plan;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

impl Tape {
    /// `y[.., :]` = weight[`tokens[..]`, :] for weight [V, E] and tokens of any shape [..], as torch.nn.functional.embedding:
    /// [.., E].
    ///
    /// Gradient: `dweight[v, :]` = Σ of `dy[n, :]` over the positions n of token v; 0 for the token `padding_idx`.
    ///
    /// # Errors
    /// [`Error::Argument`] when weight is no matrix, or a token or `padding_idx` is not in 0..V.
    pub fn embedding(&mut self, tokens: &Indices, weight: Var, padding_idx: Option<usize>) -> Result<Var> {
        let table = self.value(weight)?;
        let &[rows, width] = &*table.shape() else {
            return super::mismatch("embedding", tokens.shape(), table.shape());
        };
        tokens.check("embedding", rows, None)?;
        if let Some(index) = padding_idx.filter(|index| *index >= rows) {
            return Err(Error::argument("embedding", format!("padding_idx {index} is not in 0..{rows}")));
        }
        let padding = padding_idx.map_or(NO_PADDING, |index| index as u32);
        let shape = Shape::joined("embedding", &tokens.shape(), &[width])?;
        let y = Tensor::empty(self.device(), table.dtype(), shape)?;
        let params = Embedding { count: tokens.count() as u32, width: width as u32, rows: rows as u32 };
        let args = [tokens.tensor().read(), table.read(), y.write()];
        self.device().launch(&Plan::elements(&EMBEDDING, y.count()), &params, &args)?;
        if self.requires_grad(weight)? {
            // Uploaded now: in the middle of the backward pass it would split the compute pass.
            tokens.sorted(rows)?;
        }
        let tokens = tokens.clone();
        self.push("embedding", &[weight], y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                let sorted = tokens.sorted(rows)?;
                g.give_with(0, |dw, accumulate| {
                    if sorted.is_empty() && !accumulate {
                        return dw.fill(0.0);
                    }
                    super::added_up(dw, sorted.len() > 1, accumulate, |dw, accumulate| {
                        for (index, part) in sorted.iter().enumerate() {
                            let dy = dy.slice(index * PART * width, [part.order.count(), width])?;
                            let accumulate = (accumulate || index > 0).into();
                            let (rows, width) = (rows as u32, width as u32);
                            let params = EmbeddingBackward { rows, width, padding, accumulate };
                            let args = [part.starts.read(), part.order.read(), dy.read(), dw.update()];
                            let plan = Plan::elements(&EMBEDDING_BACKWARD, dw.count());
                            dw.device().launch(&plan, &params, &args)?;
                        }
                        Ok(())
                    })
                })
            })
        })
    }
}
