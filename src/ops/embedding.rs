//! Look-up of rows: torch.nn.functional.embedding.

use super::indices::{Indices, PART};
use crate::cpu::embedding::{EMBEDDING, Embedding};
use crate::cpu::embedding_backward::{self, EmbeddingBackward, NO_PADDING};
use crate::error::{Error, Result};
use crate::kernel::Plan;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

impl Tape {
    /// `y[.., :] = weight[tokens[..], :]` for weight [V, E] and tokens of any shape [..], as torch.nn.functional.embedding:
    /// [.., E].
    ///
    /// A recurrent layer that takes the result as it is, reshaped, or with its first two dimensions exchanged, without
    /// `padding_idx` and lengths, multiplies the rows of weight with its W_ih, where they are at most half as many as the tokens (in half precision
    /// an eighth), and looks up the products. The tape then says that the layer is computed from weight.
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
        let shape = Shape::joined("embedding", &tokens.shape(), &[width])?;
        let y = Tensor::empty(self.device(), table.dtype(), shape)?;
        look_up(tokens, table, &y)?;
        if self.requires_grad(weight)? {
            // Uploaded now: in the middle of the backward pass it would split the compute pass.
            tokens.sorted(rows)?;
        }
        let of = tokens.clone();
        let y = self.push("embedding", &[weight], y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                g.give_with(0, |dw, accumulate| add_up(&of, &dy, padding_idx, dw, accumulate))
            })
        })?;
        if padding_idx.is_none() {
            self.came_from(y, LookUp { tokens: tokens.clone(), transposed: false, table: weight });
        }
        Ok(y)
    }
}

/// Where a value came from that is rows of a table. What is linear in it can be had of the table's rows, where these are fewer, and
/// looked up then.
#[derive(Clone)]
pub(crate) struct LookUp {
    /// The row of each of its rows: [..], or [M, N] of a value [N, M, E] where that is transposed.
    pub tokens: Indices,
    /// See `tokens`.
    pub transposed: bool,
    /// [V, E].
    pub table: Var,
}

impl LookUp {
    /// That of the value in another shape, where it keeps its rows.
    pub fn reshaped(&self, shape: &[usize], table: &Tensor) -> Result<Option<LookUp>> {
        let rows = shape.split_last().filter(|(width, _)| **width == table.shape()[1]).map(|(_, rows)| rows);
        let rows =
            rows.filter(|rows| rows.iter().product::<usize>() == self.tokens.count() && !self.transposed);
        rows.map(|rows| Ok(LookUp { tokens: self.tokens.reshape(rows)?, ..self.clone() })).transpose()
    }

    /// That of the value, of three dimensions, with the first two exchanged.
    pub fn exchanged(&self) -> LookUp {
        LookUp { transposed: !self.transposed, ..self.clone() }
    }

    /// The row of each of its rows, in their order.
    pub fn in_order(&self) -> Result<Indices> {
        if self.transposed { self.tokens.transposed() } else { Ok(self.tokens.clone()) }
    }

    /// Whether the table [V, E] has so few rows that it pays to compute with them in the place of what was looked up.
    pub fn is_of_few(&self, table: &Tensor) -> bool {
        // What is added up for the rows has 32 bits, and a GPU may multiply 16 much faster.
        let saved = if table.dtype().is_half() { 8 } else { 2 };
        saved * table.shape()[0] <= self.tokens.count()
    }
}

/// y[.., :] = table[tokens[..], :] for table [V, E].
pub(super) fn look_up(tokens: &Indices, table: &Tensor, y: &Tensor) -> Result<()> {
    let [rows, width] = [0, 1].map(|dim| table.shape()[dim] as u32);
    let params = Embedding { count: tokens.count() as u32, width, rows };
    let args = [tokens.tensor().read(), table.read(), y.write()];
    let plan = Plan::rows_of_fours(&EMBEDDING, y.count(), width as usize);
    y.device().launch(&plan, &params, &args)
}

/// dtable[v, :] = Σ of dy[n, :] over the positions n of token v, or added to it; nothing of the token `padding_idx`. dtable is
/// [V, E], dy [.., E].
pub(super) fn add_up(
    tokens: &Indices,
    dy: &Tensor,
    padding_idx: Option<usize>,
    dtable: &Tensor,
    accumulate: bool,
) -> Result<()> {
    let [rows, width] = [0, 1].map(|dim| dtable.shape()[dim]);
    let padding = padding_idx.map_or(NO_PADDING, |index| index as u32);
    let sorted = tokens.sorted(rows)?;
    if sorted.is_empty() && !accumulate {
        return dtable.fill(0.0);
    }
    super::added_up(dtable, sorted.len() > 1, accumulate, |dtable, accumulate| {
        for (index, part) in sorted.iter().enumerate() {
            let dy = dy.slice(index * PART * width, [part.order.count(), width])?;
            let accumulate = (accumulate || index > 0).into();
            let params = EmbeddingBackward { rows: rows as u32, width: width as u32, padding, accumulate };
            let args = [part.starts.read(), part.order.read(), dy.read(), dtable.update()];
            let device = dtable.device();
            let plan = embedding_backward::plan(&params, part.order.count(), device.limits().processor);
            device.launch(&plan, &params, &args)?;
        }
        Ok(())
    })
}
