//! The matrix product, of which linear and recurrent layers are made: torch.matmul of two matrices.

use super::reduce::sum_lines;
use crate::cpu::matmul::Matmul;
use crate::cpu::matmul_ways::plan;
use crate::device::Arg;
use crate::error::{Error, Result};
use crate::kernel::{Dtype, Limits};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// A tensor read as a matrix, perhaps transposed.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    tensor: &'a Tensor,
    rows: usize,
    cols: usize,
    /// Elements from one row, and from one column, to the next.
    strides: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// The tensor [.., cols] as a matrix with a row for each index of the leading dimensions.
    pub fn new(tensor: &'a Tensor) -> Self {
        let shape = tensor.shape();
        let (cols, leading) = shape.split_last().expect("a matrix has at least one dimension");
        Matrix { tensor, rows: leading.iter().product(), cols: *cols, strides: (*cols, 1) }
    }

    /// The transposed matrix.
    pub fn t(self) -> Self {
        Matrix { rows: self.cols, cols: self.rows, strides: (self.strides.1, self.strides.0), ..self }
    }
}

/// The longest sum that one launch adds up. llvmpipe silently ends the loops of a thread after 65,535 iterations, all loops
/// together (LP_MAX_TGSI_LOOP_ITERATIONS); a tile of 64 gets there at k = 45,588.
const LONGEST: usize = 32_768;

/// c = a·b, or c += a·b.
pub(super) fn product(a: Matrix<'_>, b: Matrix<'_>, c: &Tensor, accumulate: bool) -> Result<()> {
    product_with_biases(a, b, [None; 2], c, accumulate)
}

/// [`product`] with up to two biases, the first one first, added to every row.
pub(super) fn product_with_biases(
    a: Matrix<'_>,
    b: Matrix<'_>,
    biases: [Option<&Tensor>; 2],
    c: &Tensor,
    accumulate: bool,
) -> Result<()> {
    super::added_up(c, a.cols > LONGEST, accumulate, |c, accumulate| parts(a, b, biases, c, accumulate))
}

/// [`product_with_biases`], a launch for each part of the sums.
fn parts(
    a: Matrix<'_>,
    b: Matrix<'_>,
    biases: [Option<&Tensor>; 2],
    c: &Tensor,
    accumulate: bool,
) -> Result<()> {
    let ((a_arg, a_offset), (b_arg, b_offset)) = (a.tensor.read_from(), b.tensor.read_from());
    let device = c.device();
    let factors = [a.tensor.dtype(), b.tensor.dtype()];
    let half = factors.into_iter().chain([c.dtype()]).any(Dtype::is_half);
    let limits =
        Limits { cooperative: factors == [Dtype::F16; 2] && device.is_cooperative(), ..*device.limits() };
    // A sum over nothing is a launch too: it writes zeros.
    for start in (0..a.cols.max(1)).step_by(LONGEST) {
        // The biases come last.
        let biases = biases.map(|bias| bias.filter(|_| start + LONGEST >= a.cols));
        let k = (a.cols - start).min(LONGEST) as u32;
        let params = Matmul {
            m: a.rows as u32,
            n: b.cols as u32,
            k,
            depth: k,
            a_offset: a_offset + (start * a.strides.1) as u32,
            a_row: a.strides.0 as u32,
            a_col: a.strides.1 as u32,
            b_offset: b_offset + (start * b.strides.0) as u32,
            b_row: b.strides.0 as u32,
            b_col: b.strides.1 as u32,
            biases: biases.iter().flatten().count() as u32,
            accumulate: (accumulate || start > 0).into(),
        };
        let site = || params.site(half, &limits);
        let way = device.choose(site, || params.ways(&limits), plan(&params, &limits));
        let wide = way.is_cooperative();
        let widened = |bias: &Tensor| if wide { bias.cast(Dtype::F32) } else { Ok(bias.clone()) };
        let [first, second] = biases.map(|bias| bias.map(widened).transpose());
        let biases = [first?, second?];
        let [bias, bias_2] = [0, 1].map(|at| biases[at].as_ref().map_or(Arg::absent(), Tensor::read));
        if way.parts() == 1 && !(wide && c.dtype() != Dtype::F32) {
            device.launch(&way.plan, &params, &[a_arg, b_arg, bias, bias_2, c.update()])?;
            continue;
        }
        let shape = [way.parts() as usize, c.count()];
        let sums = Tensor::empty(&device, Dtype::F32, shape)?;
        let split = Matmul { depth: way.depth, accumulate: 0, ..params };
        device.launch(&way.plan, &split, &[a_arg, b_arg, bias, bias_2, sums.update()])?;
        sum_lines(&sums, [1, shape[0], shape[1]], 1.0, c, params.accumulate == 1)?;
    }
    Ok(())
}

impl Tape {
    /// The matrix product c = a·b of a [M, K] and b [K, N], as torch.matmul: [M, N].
    ///
    /// Gradients: da = dc·bᵀ, db = aᵀ·dc.
    ///
    /// # Errors
    /// [`Error::Argument`] when the shapes do not fit; [`Error::Gpu`] on a fault.
    pub fn matmul(&mut self, a: Var, b: Var) -> Result<Var> {
        let (left, right) = (self.value(a)?.clone(), self.value(b)?.clone());
        let (&[m, k], &[k2, n]) = (&*left.shape(), &*right.shape()) else {
            let message =
                format!("takes two matrices, got shapes {:?} and {:?}", left.shape(), right.shape());
            return Err(Error::argument("matmul", message));
        };
        if k != k2 {
            return super::mismatch("matmul", left.shape(), right.shape());
        }
        let out = Tensor::empty(self.device(), left.dtype().promote(right.dtype()), [m, n])?;
        product(Matrix::new(&left), Matrix::new(&right), &out, false)?;
        self.push("matmul", &[a, b], out, || {
            Box::new(move |g| {
                let dc = g.of_output()?;
                let (dc, a, b) = (Matrix::new(&dc), Matrix::new(&left), Matrix::new(&right));
                g.give_with(0, |da, accumulate| product(dc, b.t(), da, accumulate))?;
                g.give_with(1, |db, accumulate| product(a.t(), dc, db, accumulate))
            })
        })
    }
}
