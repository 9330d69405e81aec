//! Types of elements: those of tensors, and those that a kernel's arguments may have.

use std::ops::Deref;

use super::{Kernel, Real};

/// The most buffers a kernel may have: WebGPU's guaranteed limit.
pub const MAX_ARGS: usize = 8;

/// The type of a tensor's elements.
///
/// F16 and BF16 are for storage only: kernels compute with 32-bit floats and round what they store to the nearest number, of two
/// equally near ones to the even one. (The reference devices of [`verify`](crate::verify) store what they compute, unrounded.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 16-bit float of IEEE 754: 11 significant bits, up to 65,504.
    F16,
    /// The upper half of a 32-bit float: 8 significant bits, the same range.
    BF16,
    /// 32-bit signed integer: tokens and labels.
    I32,
}

impl Dtype {
    /// The types of reals.
    pub const FLOATS: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];

    /// Bytes of an element.
    pub const fn size(self) -> usize {
        match self {
            Dtype::F32 | Dtype::I32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
        }
    }

    /// Whether its elements are reals.
    pub const fn is_float(self) -> bool {
        !matches!(self, Dtype::I32)
    }

    /// Whether its elements are reals of two bytes.
    pub const fn is_half(self) -> bool {
        matches!(self, Dtype::F16 | Dtype::BF16)
    }

    /// A slice of a buffer that a kernel takes must begin at a multiple of this many elements: WebGPU's 256 bytes.
    pub const fn alignment(self) -> usize {
        256 / self.size()
    }

    /// The nearest number that it can hold.
    pub fn round(self, x: f32) -> f32 {
        match self {
            Dtype::F32 | Dtype::I32 => x,
            Dtype::F16 => half::f16::from_f32(x).to_f32(),
            Dtype::BF16 => half::bf16::from_f32(x).to_f32(),
        }
    }

    /// The type in which results of both can be kept, as torch.promote_types: F16 and BF16 meet in F32.
    pub fn promote(self, other: Dtype) -> Dtype {
        if self == other { self } else { Dtype::F32 }
    }

    /// PyTorch's name, without `torch.`.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "float32",
            Dtype::F16 => "float16",
            Dtype::BF16 => "bfloat16",
            Dtype::I32 => "int32",
        }
    }
}

/// What an argument of a kernel may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elements {
    /// 32-bit floats. The shader indexes the binding.
    F32,
    /// 32-bit integers. The shader indexes the binding.
    I32,
    /// Floats of any type. The shader declares the binding as in 32 bits, but uses `load_NAME(i)` and, where it writes,
    /// `store_NAME(i, x)` in its place. The twin gets numbers in 32 bits; what it wrote is rounded after it has returned.
    Float,
    /// Floats of any type, where the kernel reads what it has stored itself in the same launch: a state from step to step, say.
    /// The twin gets a [`Kept`], which rounds at once.
    Kept,
}

impl Elements {
    /// Whether tensors of the type can be such an argument.
    pub fn take(self, dtype: Dtype) -> bool {
        match self {
            Elements::F32 => dtype == Dtype::F32,
            Elements::I32 => dtype == Dtype::I32,
            Elements::Float | Elements::Kept => dtype.is_float(),
        }
    }

    /// Its type of 32 bits.
    pub fn widest(self) -> Dtype {
        if self == Elements::I32 { Dtype::I32 } else { Dtype::F32 }
    }
}

impl std::fmt::Display for Elements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Elements::F32 => "F32",
            Elements::I32 => "I32",
            Elements::Float | Elements::Kept => "F32, F16 or BF16",
        })
    }
}

/// The types of a launch's arguments, in their order.
pub type Storage = [Dtype; MAX_ARGS];

impl Kernel {
    /// The types of its arguments, all in 32 bits.
    pub fn widest(&self) -> Storage {
        let mut storage = [Dtype::F32; MAX_ARGS];
        storage.iter_mut().zip(self.args).for_each(|(dtype, declared)| *dtype = declared.elements.widest());
        storage
    }

    /// The types of its arguments for a variant: in 32 bits, unless the variant takes certain types only.
    pub fn widest_of(&self, variant: usize) -> Storage {
        let mut storage = self.widest();
        let stored = self.variants[variant].stored.unwrap_or_default();
        storage.iter_mut().zip(stored).for_each(|(dtype, stored)| *dtype = *stored);
        storage
    }

    /// The types of its arguments when all that can be are stored as one type.
    pub fn stored(&self, dtype: Dtype) -> Storage {
        self.stored_as([dtype; MAX_ARGS])
    }

    /// The types of its arguments when each that can be is stored as given here.
    pub fn stored_as(&self, dtypes: Storage) -> Storage {
        let mut storage = self.widest();
        for ((stored, declared), dtype) in storage.iter_mut().zip(self.args).zip(dtypes) {
            if declared.elements.take(dtype) {
                *stored = dtype;
            }
        }
        storage
    }
}

/// An argument of a twin that reads what it has stored before. [`Kept::put`] rounds as the buffer does.
#[derive(Debug)]
pub struct Kept<'a, R> {
    values: &'a mut [R],
    dtype: Dtype,
}

impl<'a, R: Real> Kept<'a, R> {
    /// Numbers that a buffer of this type stores.
    pub fn new(values: &'a mut [R], dtype: Dtype) -> Self {
        Kept { values, dtype }
    }

    /// Stores a number.
    #[inline(always)]
    pub fn put(&mut self, i: usize, x: R) {
        self.values[i] = x.stored(self.dtype);
    }

    /// The numbers, to be stored by a fast twin, and the type to round them to.
    pub fn parts(&mut self) -> (&mut [R], Dtype) {
        (self.values, self.dtype)
    }
}

impl<R> Deref for Kept<'_, R> {
    type Target = [R];
    fn deref(&self) -> &[R] {
        self.values
    }
}
