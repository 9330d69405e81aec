//! A plain recurrent layer over a whole sequence, in one direction: one node of the tape.

use super::bias_add::sum_rows;
use super::linear::times_transposed;
use super::matmul::{Matrix, product};
use crate::cpu::rnn_step_backward::{RNN_STEP_BACKWARD, RnnStepBackward};
use crate::cpu::rnn_step_forward::{RNN_STEP_FORWARD, RnnStepForward};
use crate::device::{ALIGNMENT, Arg};
use crate::error::{Error, Result};
use crate::kernel::{Dtype, Plan};
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

/// The activation of a plain recurrent layer, as torch.nn.RNN's `nonlinearity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nonlinearity {
    /// tanh.
    #[default]
    Tanh,
    /// max(x, 0).
    Relu,
}

/// The parameters of one layer and direction, on a tape.
#[derive(Clone, Copy, Debug)]
pub struct RnnWeights {
    /// W_ih [H, I].
    pub w_ih: Var,
    /// W_hh [H, H].
    pub w_hh: Var,
    /// b_ih and b_hh, each `[H]`.
    pub biases: Option<[Var; 2]>,
}

impl Tape {
    /// h_t = act(x_t·W_ihᵀ + b_ih + h_{t-1}·W_hhᵀ + b_hh) for x [T, B, I]: all h_t, [T, B, H]. The initial state h0 [B, H]
    /// is 0 where it is not given. The state after the last step is [`Tape::select`]`(y, T - 1)`.
    ///
    /// The input product of all steps is one matmul; a step of the recurrence is one launch. Gradients: da from the last
    /// step to the first (see shaders/rnn_step_backward.wgsl), then dx = da·W_ih, dW_ih = daᵀ·x, dW_hh = Σ_t da_tᵀ·h_{t-1},
    /// both biases' Σ over the rows of da, dh0 = da_0·W_hh.
    ///
    /// # Errors
    /// [`Error::Argument`] when T is 0 or shapes do not fit; [`Error::Gpu`] on a fault.
    pub fn rnn(
        &mut self,
        x: Var,
        h0: Option<Var>,
        weights: RnnWeights,
        nonlinearity: Nonlinearity,
    ) -> Result<Var> {
        let (input, w_ih, w_hh) =
            (self.value(x)?.clone(), self.value(weights.w_ih)?.clone(), self.value(weights.w_hh)?.clone());
        let (&[time, batch, width], &[hidden, _]) = (&*input.shape(), &*w_ih.shape()) else {
            return super::mismatch("rnn", input.shape(), w_ih.shape());
        };
        if time == 0 {
            return Err(Error::argument("rnn", "takes a sequence of at least one step, got none"));
        }
        if w_ih.shape() != Shape::from([hidden, width]) {
            return super::mismatch("rnn", input.shape(), w_ih.shape());
        }
        if w_hh.shape() != Shape::from([hidden, hidden]) {
            return super::mismatch("rnn", w_ih.shape(), w_hh.shape());
        }
        let state = Shape::from([batch, hidden]);
        let mut inputs = vec![x, weights.w_ih, weights.w_hh];
        let mut biases = [Arg::absent(), Arg::absent()];
        if let Some(vars) = weights.biases {
            for (argument, var) in biases.iter_mut().zip(vars) {
                let bias = self.value(var)?;
                if bias.shape() != Shape::from([hidden]) {
                    return super::mismatch("rnn", w_hh.shape(), bias.shape());
                }
                *argument = bias.read();
            }
            inputs.extend(vars);
        }

        // The initial state lies right before h_0, which begins at an aligned element: the output is then a tensor
        // like any other, and the states before each step are consecutive rows too.
        let start = (batch * hidden).next_multiple_of(ALIGNMENT);
        let base = start - batch * hidden;
        let h = Tensor::empty(self.device(), Dtype::F32, [start + time * batch * hidden])?;
        match h0 {
            Some(var) => {
                let h0 = self.value(var)?;
                if h0.shape() != state {
                    return super::mismatch("rnn: initial state", h0.shape(), state);
                }
                h0.copy_into(&h, base)?;
                inputs.push(var);
            }
            None => h.slice(0, [start])?.fill(0.0)?,
        }
        let relu = (nonlinearity == Nonlinearity::Relu).into();
        let [batch32, hidden32, base32] = [batch, hidden, base].map(|n| n as u32);
        let bias = weights.biases.is_some().into();
        let xw = times_transposed(&input, &w_ih)?;
        let plan = Plan::elements(&RNN_STEP_FORWARD, batch * hidden);
        for step in 0..time as u32 {
            let params = RnnStepForward { batch: batch32, hidden: hidden32, step, base: base32, relu, bias };
            self.device().launch(
                &plan,
                &params,
                &[xw.read(), w_hh.read(), biases[0], biases[1], h.update()],
            )?;
        }
        let y = h.slice(start, [time, batch, hidden])?;
        let has_h0 = h0.is_some();
        self.push("rnn", &inputs, y, || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                let da = Tensor::empty(&dy.device(), Dtype::F32, [time, batch, hidden])?;
                let plan = Plan::elements(&RNN_STEP_BACKWARD, batch * hidden);
                for step in (0..time as u32).rev() {
                    let last = (step as usize == time - 1).into();
                    let params =
                        RnnStepBackward { batch: batch32, hidden: hidden32, step, base: base32, relu, last };
                    dy.device().launch(&plan, &params, &[dy.read(), w_hh.read(), h.read(), da.update()])?;
                }
                let before = h.slice(base, [time, batch, hidden])?;
                let da_matrix = Matrix::new(&da);
                g.give_with(0, |dx, more| product(da_matrix, Matrix::new(&w_ih), dx, more))?;
                g.give_with(1, |dw, more| product(da_matrix.t(), Matrix::new(&input), dw, more))?;
                g.give_with(2, |dw, more| product(da_matrix.t(), Matrix::new(&before), dw, more))?;
                let mut next = 3;
                if bias == 1 {
                    for input in [3, 4] {
                        g.give_with(input, |db, more| sum_rows(&da, db, more))?;
                    }
                    next = 5;
                }
                if has_h0 {
                    let first = da.slice(0, state)?;
                    let (first, w_hh) = (Matrix::new(&first), Matrix::new(&w_hh));
                    g.give_with(next, |dh, more| product(first, w_hh, dh, more))?;
                }
                Ok(())
            })
        })
    }
}
