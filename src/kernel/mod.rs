//! A kernel: a name, a plain CPU twin and one or more shader variants, with the same parameters and the
//! same buffers in the same order. [`kernel!`](macro@crate::kernel) declares one.
//!
//! # An operation of your own
//!
//! A program that uses this package can add operations in the same way in which those of the package are made. They run on every
//! device. It takes three things:
//!
//! 1. a kernel: a shader in WGSL and a twin, tied together by [`kernel!`](macro@crate::kernel);
//! 2. a function that makes the result with [`Tensor::empty`](crate::tensor::Tensor::empty) and
//!    [`Device::launch`](crate::device::Device::launch), and pushes it to the tape with a rule for the gradients of its
//!    inputs, by [`Tape::push`](crate::tape::Tape::push);
//! 3. the proof: [`gradient_check`](crate::verify::gradients::gradient_check) compares the gradients with finite differences of
//!    the twin in 64 bits, and [`compare`](crate::verify::gradients::compare) a device with the twin, within limits that are
//!    derived from the twin's own formula.
//!
//! As an example the swish, torch.nn.SiLU, y = x·σ(x):
//!
//! ```
//! use bptt::kernel;
//! use bptt::kernel::{Dtype, Plan, Real};
//! use bptt::prelude::*;
//! use bptt::verify::gradients::{Computation, compare, gradient_check};
//!
//! kernel! {
//!     /// `y[i] = x[i]·σ(x[i])`
//!     static SWISH = swish(Swish { count: u32 }; x: read F32, y: write F32);
//!     variants [{ "elements", (SWISH_WGSL), [] }] // or "swish.wgsl", a file in the package's folder `shaders`
//! }
//! const SWISH_WGSL: &str = "
//! @group(0) @binding(0) var<storage, read> x: array<f32>;
//! @group(0) @binding(1) var<storage, read_write> y: array<f32>;
//!
//! @compute @workgroup_size(GROUP)
//! fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
//!     for (var i = id.x; i < p.count; i += groups.x * GROUP) {
//!         y[i] = x[i] * sigmoid(x[i]);
//!     }
//! }";
//! fn swish<R: Real>(p: &Swish, x: &[R], y: &mut [R]) {
//!     for i in 0..p.count as usize {
//!         y[i] = x[i] * x[i].sigmoid();
//!     }
//! }
//!
//! kernel! {
//!     /// `dx[i] = dy[i]·s·(1 + x[i]·(1 - s))` with `s = σ(x[i])`
//!     static SWISH_BACKWARD = swish_backward(SwishBackward { count: u32 }; x: read F32, dy: read F32, dx: write F32);
//!     variants [{ "elements", (SWISH_BACKWARD_WGSL), [] }]
//! }
//! const SWISH_BACKWARD_WGSL: &str = "
//! @group(0) @binding(0) var<storage, read> x: array<f32>;
//! @group(0) @binding(1) var<storage, read> dy: array<f32>;
//! @group(0) @binding(2) var<storage, read_write> dx: array<f32>;
//!
//! @compute @workgroup_size(GROUP)
//! fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
//!     for (var i = id.x; i < p.count; i += groups.x * GROUP) {
//!         let s = sigmoid(x[i]);
//!         dx[i] = dy[i] * s * (1.0 + x[i] * (1.0 - s));
//!     }
//! }";
//! fn swish_backward<R: Real>(p: &SwishBackward, x: &[R], dy: &[R], dx: &mut [R]) {
//!     for i in 0..p.count as usize {
//!         let (one, s) = (R::of(1.0), x[i].sigmoid());
//!         dx[i] = dy[i] * s * (one + x[i] * (one - s));
//!     }
//! }
//!
//! fn apply_swish(tape: &mut Tape, x: Var) -> Result<Var> {
//!     let input = tape.value(x)?.clone(); // shares the memory
//!     let (device, shape, count) = (input.device(), input.shape(), input.count());
//!     let y = Tensor::empty(&device, Dtype::F32, shape)?;
//!     let params = Swish { count: count as u32 };
//!     device.launch(&Plan::elements(&SWISH, count), &params, &[input.read(), y.write()])?;
//!     tape.push("swish", &[x], y, move || {
//!         Box::new(move |gradients| {
//!             let dy = gradients.of_output()?;
//!             let dx = Tensor::empty(&device, Dtype::F32, shape)?;
//!             let params = SwishBackward { count: count as u32 };
//!             let args = [input.read(), dy.read(), dx.write()];
//!             device.launch(&Plan::elements(&SWISH_BACKWARD, count), &params, &args)?;
//!             gradients.give(0, dx)
//!         })
//!     })
//! }
//!
//! # fn main() -> Result<()> {
//! let computation = Computation::new("swish", &[("x", &[5, 3])], |tape, x| apply_swish(tape, x[0]));
//! let report = gradient_check(&computation, 0)?;
//! assert!(report.passed(), "{report}");
//! let report = compare(&Device::auto()?, &computation, 0)?;
//! assert!(report.passed(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! `examples/custom_op.rs` has an operation of two inputs and a parameter, and trains a network with it.
//!
//! ## What a shader finds
//!
//! The text of a variant is followed by `shaders/common.wgsl`, by the constants of the variant, [`GROUP`], and the parameters
//! as `p`; [`Kernel::wgsl`] gives the whole. In `common.wgsl` are `sigmoid`, `tanh_rational` and `logarithm` (the builtins
//! `tanh` and `log` fail on some drivers), `exp_nonpositive`, `is_nan`, and the random numbers of Philox.
//!
//! The arguments are the bindings of group 0, in the order of the declaration: `read` is `var<storage, read>`, `write` and
//! `update` are `var<storage, read_write>`. An argument declared `F32` takes no tensor of half precision. One declared `Float`
//! takes every type of reals; the shader then uses the functions `load_x(i)` and, where it writes, `store_x(i, value)` in place
//! of the binding (see [`Elements`]).
//!
//! ## What a shader must keep to
//!
//! - A kernel has at most 8 arguments and 32 parameters.
//! - In one launch no two threads write the same element, and a buffer that is written is given once.
//! - With [`Plan::elements`] its loop strides over the grid, as above, so that any number of elements works. For other grids
//!   make a [`Plan`] with the number of workgroups.
//!
//! A device refuses a shader that is not valid at the first launch. If two buffers of one type are swapped, only
//! [`compare`](crate::verify::gradients::compare) on a GPU finds it; one made of software is enough.
//!
//! The CPU runs the twin only. Where its speed matters, `fast` names a second function (see [`kernel!`](macro@crate::kernel)).
//! Shaders of this package run without the guards that naga otherwise puts into loops and integer divisions, because its tests
//! have shown that they need none; those of other packages keep them.

mod dtype;
mod text;
mod wgsl;

use crate::cpu::real::{Bounded, Twin};

pub use crate::cpu::real::{Number, Real};
pub use dtype::{Dtype, Elements, Kept, MAX_ARGS, Storage};
pub use wgsl::{Form, ParamSpace};

/// What [`kernel!`](macro@crate::kernel) uses in the packages where it is called.
#[doc(hidden)]
pub use bytemuck;

/// Whether the kernels of a module are in the table that this package's tests run: its own are, those of its users and
/// examples are not.
#[doc(hidden)]
pub const fn is_covered(module: &str) -> bool {
    matches!(module.as_bytes(), [b'b', b'p', b't', b't', b':', ..])
}

/// What a kernel does with an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Every element is written, none is read.
    Write,
    /// Changed in place.
    Update,
}

/// One argument in a kernel's declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name in shader and twin.
    pub name: &'static str,
    /// What the kernel does with it.
    pub access: Access,
    /// What its elements may be.
    pub elements: Elements,
}

/// The kind of processor that runs kernels: the cost of a plan depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Processor {
    /// The CPU device. It runs twins, to which a plan does not matter, only how much work a launch has.
    Cpu,
    /// A GPU made of software, such as llvmpipe: workgroup memory is no faster than other memory, and barriers cost much.
    Software,
    /// A GPU.
    Gpu,
}

/// What a device offers to kernels, or what a variant needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// What runs them.
    pub processor: Processor,
    /// Threads of a workgroup.
    pub threads: u32,
    /// Bytes of workgroup memory.
    pub memory: u32,
    /// Threads of a subgroup, where shaders can use subgroups and all of them have this size; else 0.
    pub subgroup: u32,
    /// Whether shaders can multiply cooperative matrices, of 16 x 16 native F16 with sums in F32, by a subgroup. This is what the
    /// adapter lists; whether it computes them correctly, [`Device::allows`] has tried out.
    ///
    /// [`Device::allows`]: crate::device::Device::allows
    #[serde(default)]
    pub cooperative: bool,
    /// Bytes that a buffer may have in a launch.
    pub binding: u64,
}

/// The limits that WebGPU guarantees everywhere.
pub const LEAST: Limits = Limits {
    processor: Processor::Gpu,
    threads: 256,
    memory: 16_384,
    subgroup: 0,
    cooperative: false,
    binding: 128 << 20,
};

/// What variants need that run in one subgroup of 8 threads.
pub const SUBGROUP: Limits = Limits { subgroup: 8, ..LEAST };

/// What variants need that multiply cooperative matrices in one subgroup of 32 threads.
pub const COOPERATIVE: Limits = Limits { subgroup: 32, cooperative: true, ..LEAST };

impl Limits {
    /// Whether they are enough for a variant.
    pub fn allow(&self, variant: &Variant) -> bool {
        let needs = &variant.needs;
        let subgroup = needs.subgroup == 0 || needs.subgroup == self.subgroup;
        // A twin needs none of it.
        self.processor == Processor::Cpu
            || subgroup
                && needs.threads <= self.threads
                && needs.memory <= self.memory
                && needs.cooperative <= self.cooperative
    }
}

/// One shader that implements a kernel. Variants of a kernel compute the same function.
#[derive(Debug)]
pub struct Variant {
    /// What tells it from the kernel's other variants.
    pub name: &'static str,
    /// The texts that its WGSL is put together of: first what the kernel computes, then perhaps how, which several kernels may
    /// share. `shaders/common.wgsl`, the constants and the parameter block are appended.
    pub wgsl: &'static [&'static str],
    /// The names of their files in the folder `shaders`; empty for a text that is no file.
    pub files: &'static [&'static str],
    /// Compile-time constants (tile sizes), appended as `const NAME = VALUEu;`.
    pub constants: &'static [(&'static str, u32)],
    /// What an adapter must offer for it.
    pub needs: Limits,
    /// The only types in which its arguments may be stored, F16 as WGSL's `f16`. `None`: all types that the kernel takes.
    pub stored: Option<&'static [Dtype]>,
}

impl Variant {
    /// Its texts as one.
    pub fn text(&self) -> String {
        self.wgsl.join("\n")
    }

    /// Whether it runs with arguments that are stored like this.
    pub fn takes(&self, storage: &[Dtype]) -> bool {
        self.stored.is_none_or(|stored| storage.starts_with(stored))
    }

    /// The value of the constant `name`.
    pub fn constant(&self, name: &str) -> u32 {
        let found = self.constants.iter().find(|(key, _)| *key == name);
        found.expect("a plan reads only constants that its variant declares").1
    }
}

/// A kernel: see the [module](mod@crate::kernel). [`kernel!`](macro@crate::kernel) fills in the fields.
pub struct Kernel {
    /// Its name, which is also the base name of its shader and of its twin.
    pub name: &'static str,
    /// The arguments in the order of the launch and of the shader's bindings in group 0.
    pub args: &'static [Declared],
    /// Names and WGSL types of the parameters.
    pub params: &'static [(&'static str, &'static str)],
    /// The shaders. A plan names one by its index.
    pub variants: &'static [Variant],
    /// Whether this package's tests cover it, so that its shaders need none of naga's guards (loops, division).
    pub covered: bool,
    /// The twin for the CPU device: a fast one where the twin's file has it, else the plain one.
    pub f32: Twin<f32>,
    /// The plain twin in f32.
    pub plain: Twin<f32>,
    /// The plain twin in f64: the reference.
    pub f64: Twin<f64>,
    /// The plain twin that derives the limits of comparisons.
    pub bounded: Twin<Bounded>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// How to run a kernel: the variant and the grid. It is made by a pure function of shapes and limits, so that the same program
/// on the same device gives the same bits.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Index into the kernel's variants.
    pub variant: usize,
    /// Workgroups in x, y and z.
    pub grid: [u32; 3],
}

/// Threads of a workgroup in kernels that treat elements independently. The shaders use the same name.
pub const GROUP: u32 = 64;
/// The most workgroups that WebGPU guarantees in one dimension of a grid.
pub const MAX_GROUPS: u32 = 65_535;

impl Plan {
    /// One thread for each of `n` independent elements. Where the grid cannot be so large, a thread takes several: kernels stride
    /// over the grid.
    pub fn elements(kernel: &'static Kernel, n: usize) -> Plan {
        let groups = n.div_ceil(GROUP as usize).clamp(1, MAX_GROUPS as usize) as u32;
        Plan { kernel, variant: 0, grid: [groups, 1, 1] }
    }

    /// One thread for four neighbours of `n` independent elements, where n is a multiple of four; else [`Plan::elements`]. For
    /// kernels whose second variant takes four at a time (`shaders/elements_of_four.wgsl`).
    pub fn fours(kernel: &'static Kernel, n: usize) -> Plan {
        Plan::rows_of_fours(kernel, n, n)
    }

    /// The same for elements of rows of `width`, which has to be a multiple of four for vectors not to lie in two rows.
    pub fn rows_of_fours(kernel: &'static Kernel, n: usize, width: usize) -> Plan {
        match width.is_multiple_of(4) {
            true => Plan { variant: 1, ..Plan::elements(kernel, n / 4) },
            false => Plan::elements(kernel, n),
        }
    }
}

/// An argument as a twin receives it.
pub enum Slot<'a, R> {
    /// A `read` argument of reals.
    Read(&'a [R]),
    /// A `write` or `update` argument of reals, and how a buffer stores them.
    Write(&'a mut [R], Dtype),
    /// A `read` argument of integers.
    ReadInt(&'a [i32]),
    /// A `write` or `update` argument of integers.
    WriteInt(&'a mut [i32]),
}

/// Declares a kernel: its parameters (a `#[repr(C)]` struct of 4-byte scalars that the shader calls `p`), its
/// arguments in binding order, its shader variants and its twin. The [module](mod@crate::kernel) has a whole example.
///
/// ```text
/// kernel! {
///     /// `y[r, c]` = `x[r, c]` + `bias[c]`
///     pub static BIAS_ADD = bias_add(BiasAdd { rows: u32, cols: u32 }; x: read F32, bias: read F32, y: write F32);
///     variants [{ "elements", "bias_add.wgsl", [] }]
/// }
/// ```
/// followed by the twin, `fn bias_add<R: Real>(p: &BiasAdd, x: &[R], bias: &[R], y: &mut [R])`.
///
/// - A parameter is a `u32`, an `i32` or an `f32`.
/// - An argument is `read`, `write` (every element is written) or `update` (changed in place). Its elements are one of
///   [`Elements`]: `F32`; `I32`, a slice of `i32` in the twin; or `Float` or `Kept`, which may be stored in half precision, and
///   which the shader reads as `load_x(i)` and writes as `store_x(i, value)`.
/// - A variant has a name, a shader and compile-time constants, such as `("TILE", 16)`. The shader is the name of a file in the
///   folder `shaders` of the package that declares the kernel, or WGSL text as an expression in parentheses: a constant, or
///   `(include_str!("bias_add.wgsl"))`. Several pieces are joined as `"a.wgsl" & "b.wgsl"`.
/// - A variant that needs more than [`LEAST`] ends with `needs Limits { .. }`; one that takes its arguments only in certain types
///   ends with `stored [F16, F32]`, a type for each argument.
/// - A line `fast path::to::function;` before `variants` names a quicker f32 function with the same arguments as the twin.
#[macro_export]
macro_rules! kernel {
    (@needs) => { $crate::kernel::LEAST };
    (@needs $needs:expr) => { $needs };
    (@stored) => { None };
    (@stored $($dtype:ident)+) => { Some(&[$($crate::kernel::Dtype::$dtype),+]) };
    (@source $file:literal) => { include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $file)) };
    (@source ($text:expr)) => { $text };
    (@file $file:literal) => { $file };
    (@file ($text:expr)) => { "" };
    (@access read) => { $crate::kernel::Access::Read };
    (@access write) => { $crate::kernel::Access::Write };
    (@access update) => { $crate::kernel::Access::Update };
    (@take $slots:ident read I32) => { match $slots.next() { Some($crate::kernel::Slot::ReadInt(x)) => &**x, _ => unreachable!("checked at the launch") } };
    (@take $slots:ident read $elements:ident) => { match $slots.next() { Some($crate::kernel::Slot::Read(x)) => &**x, _ => unreachable!("checked at the launch") } };
    (@take $slots:ident $access:ident Kept) => { match $slots.next() { Some($crate::kernel::Slot::Write(x, dtype)) => $crate::kernel::Kept::new(&mut **x, *dtype), _ => unreachable!("checked at the launch") } };
    (@take $slots:ident $access:ident I32) => { match $slots.next() { Some($crate::kernel::Slot::WriteInt(x)) => &mut **x, _ => unreachable!("checked at the launch") } };
    (@take $slots:ident $access:ident $elements:ident) => { match $slots.next() { Some($crate::kernel::Slot::Write(x, _)) => &mut **x, _ => unreachable!("checked at the launch") } };
    (@call $params:ident, $twin:path, $number:ty; $($access:ident $elements:ident),*) => {
        |params: &[u8], slots: &mut [$crate::kernel::Slot<'_, $number>]| {
            let mut slots = slots.iter_mut();
            $twin($crate::kernel::bytemuck::from_bytes::<$params>(params), $($crate::kernel!(@take slots $access $elements)),*)
        }
    };
    (
        $(#[$doc:meta])*
        $vis:vis static $NAME:ident = $twin:ident($params:ident { $($(#[$fdoc:meta])* $field:ident: $ftype:ident),* $(,)? };
            $($arg:ident: $access:ident $elements:ident),* $(,)?);
        fast $fast:path;
        variants [$({
            $vname:literal, $($source:tt)&+, [$(($cname:literal, $cvalue:expr)),* $(,)?]
            $(, needs $needs:expr)? $(, stored [$($dtype:ident),+])?
        }),* $(,)?]
    ) => {
        #[doc = concat!("Parameters of [`", stringify!($NAME), "`].")]
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, $crate::kernel::bytemuck::Pod, $crate::kernel::bytemuck::Zeroable)]
        #[bytemuck(crate = "::bptt::kernel::bytemuck")]
        #[allow(missing_docs, reason = "each field is a symbol of the kernel's equation or documented there")]
        $vis struct $params { $($(#[$fdoc])* pub $field: $ftype),* }

        $(#[$doc])*
        $vis static $NAME: $crate::kernel::Kernel = $crate::kernel::Kernel {
            name: stringify!($twin),
            args: &[$($crate::kernel::Declared {
                name: stringify!($arg),
                access: $crate::kernel!(@access $access),
                elements: $crate::kernel::Elements::$elements,
            }),*],
            params: &[$((stringify!($field), stringify!($ftype))),*],
            variants: &[$($crate::kernel::Variant {
                name: $vname,
                wgsl: &[$($crate::kernel!(@source $source)),+],
                files: &[$($crate::kernel!(@file $source)),+],
                constants: &[$(($cname, $cvalue)),*],
                needs: $crate::kernel!(@needs $($needs)?),
                stored: $crate::kernel!(@stored $($($dtype)+)?),
            }),*],
            covered: $crate::kernel::is_covered(module_path!()),
            f32: $crate::kernel!(@call $params, $fast, f32; $($access $elements),*),
            plain: $crate::kernel!(@call $params, $twin, f32; $($access $elements),*),
            f64: $crate::kernel!(@call $params, $twin, f64; $($access $elements),*),
            bounded: $crate::kernel!(@call $params, $twin, $crate::cpu::real::Bounded; $($access $elements),*),
        };
    };
    (
        $(#[$doc:meta])*
        $vis:vis static $NAME:ident = $twin:ident($($declaration:tt)*);
        variants $variants:tt
    ) => {
        $crate::kernel! {
            $(#[$doc])*
            $vis static $NAME = $twin($($declaration)*);
            fast $twin;
            variants $variants
        }
    };
}
