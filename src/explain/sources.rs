//! The source of what runs: twins as they are compiled, and what operations say of themselves.

use serde::Serialize;

use super::steps::Steps;
use crate::device::Detail;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::nearby::instead;
use crate::verify::TABLE;

macro_rules! twins {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), include_str!(concat!("../cpu/", stringify!($name), ".rs")))),*]
    };
}

/// Every twin's file, by the kernel's name.
const TWINS: &[(&str, &str)] = twins![
    adagrad,
    adam,
    begin_step,
    bias_add,
    binary,
    cast,
    clip_gradients,
    clip_values,
    column_sum,
    copy,
    cross_entropy,
    cross_entropy_soft,
    dropout,
    embedding,
    embedding_backward,
    fill,
    gather,
    gather_backward,
    gru_backward,
    gru_forward,
    layer_norm,
    layer_norm_backward,
    lstm_backward,
    lstm_forward,
    lstm_project_backward,
    lstm_project_forward,
    mask_steps,
    matmul,
    max_dim,
    multiply_add,
    one_hot,
    philox_uniform,
    reduce_sum,
    regression_loss,
    relu,
    relu_backward,
    rmsprop,
    rnn_backward,
    rnn_forward,
    scale,
    scale_by,
    sgd,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
    unary,
];

/// The files of operations.
const OPS: &[&str] = &[
    include_str!("../ops/activation.rs"),
    include_str!("../ops/bias_add.rs"),
    include_str!("../ops/binary.rs"),
    include_str!("../ops/cast.rs"),
    include_str!("../ops/cross_entropy.rs"),
    include_str!("../ops/dropout.rs"),
    include_str!("../ops/embedding.rs"),
    include_str!("../ops/gather.rs"),
    include_str!("../ops/layer_norm.rs"),
    include_str!("../ops/linear.rs"),
    include_str!("../ops/matmul.rs"),
    include_str!("../ops/reduce.rs"),
    include_str!("../ops/regression_loss.rs"),
    include_str!("../ops/scale.rs"),
    include_str!("../ops/shape.rs"),
    include_str!("../ops/softmax.rs"),
    include_str!("../ops/strided.rs"),
    include_str!("../ops/sum.rs"),
    include_str!("../ops/unary.rs"),
    include_str!("../ops/recurrent/mod.rs"),
    include_str!("../ops/recurrent/layers.rs"),
    include_str!("../ops/recurrent/lengths.rs"),
];

/// The kernel of that name.
///
/// # Errors
/// [`Error::Argument`] when there is none: it has the names that are like it, else all.
pub fn find_kernel(name: &str) -> Result<&'static Kernel> {
    let kernels = || TABLE.iter().map(|row| row.kernel);
    kernels().find(|kernel| kernel.name == name).ok_or_else(|| {
        let names: Vec<_> = kernels().map(|kernel| kernel.name).collect();
        Error::argument("kernel", format!("no kernel is called '{name}'; {}", instead(name, &names)))
    })
}

/// The file of a kernel's twin, as it was compiled: its path in the package and its text.
pub fn twin(kernel: &Kernel) -> Option<(String, &'static str)> {
    let (name, text) = TWINS.iter().find(|(name, _)| *name == kernel.name)?;
    Some((format!("src/cpu/{name}.rs"), text))
}

/// A kernel's shader as a device compiles it, and its twin.
#[derive(Clone, Debug, Serialize)]
pub struct Shader {
    /// The kernel.
    pub kernel: &'static str,
    /// What it computes.
    pub equations: Vec<String>,
    /// Whether the step launches it; else it is shown in 32 bits, in its first variant unless another is asked for.
    pub launched: bool,
    /// The variant, and all that there are.
    pub variant: &'static str,
    /// All variants.
    pub variants: Vec<&'static str>,
    /// The files that the shader is made of, `shaders/common.wgsl` aside.
    pub files: Vec<String>,
    /// The whole text.
    pub wgsl: String,
    /// The file of the twin.
    pub twin_file: String,
    /// Its text.
    pub twin: &'static str,
}

/// The shader of a kernel in the variant and with the types of arguments that a step launches it with.
///
/// # Errors
/// [`Error::Argument`] when there is no such kernel or variant; those of the step.
pub fn shader(steps: &mut dyn Steps, kernel: &str, variant: Option<&str>) -> Result<Shader> {
    let kernel = find_kernel(kernel)?;
    let variants: Vec<&str> = kernel.variants.iter().map(|variant| variant.name).collect();
    let place = |name: &str| {
        variants.iter().position(|variant| *variant == name).ok_or_else(|| {
            let message = format!("{} has no variant '{name}'; it has {}", kernel.name, variants.join(", "));
            Error::argument("kernel", message)
        })
    };
    let asked = variant.map(place).transpose()?;
    let device = steps.tape().device().clone();
    device.start_profile(Detail::Launches)?;
    let stepped = steps.step();
    let profile = device.finish_profile()?;
    stepped?;
    let launch = profile.launches.iter().find(|launch| launch.plan.kernel.name == kernel.name);
    let storage = launch.map_or(kernel.widest(), |launch| launch.storage);
    let index = asked.or(launch.map(|launch| launch.plan.variant)).unwrap_or_default();
    let (twin_file, twin) = twin(kernel).expect("a test has found all of them");
    Ok(Shader {
        kernel: kernel.name,
        equations: kernel.equations(),
        launched: launch.is_some(),
        variant: variants[index],
        files: kernel.variants[index].files.iter().map(|file| format!("shaders/{file}")).collect(),
        wgsl: kernel.wgsl(index, &device.form(storage)?)?,
        variants,
        twin_file,
        twin,
    })
}

/// What an operation says of itself: the documentation of the method of that name, up to its errors.
pub(super) fn about(operation: &str) -> Vec<String> {
    let head = format!("    pub fn {operation}(");
    let found = OPS.iter().find_map(|text| {
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().position(|line| line.starts_with(&head))?;
        let docs = |line: &&&str| line.trim_start().starts_with("///");
        let first = at - lines[..at].iter().rev().take_while(docs).count();
        Some(lines[first..at].to_vec())
    });
    let lines = found.unwrap_or_default().into_iter();
    let lines = lines.map(|line| line.trim_start().trim_start_matches("///").trim().to_string());
    let lines = lines.take_while(|line| !line.starts_with("# "));
    lines
        .filter(|line| !line.is_empty())
        .map(|line| line.replace("[`", "").replace("`]", "").replace('`', ""))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_has_its_twin_here() {
        for row in TABLE {
            let (path, text) = twin(row.kernel).unwrap_or_else(|| panic!("{:?}", row.kernel));
            assert!(path.ends_with(&format!("/{}.rs", row.kernel.name)));
            assert!(text.contains(&format!("pub fn {}", row.kernel.name)), "{path}");
        }
        let error = find_kernel("rnn_foward").unwrap_err().to_string();
        assert!(error.contains("no kernel is called 'rnn_foward'; did you mean rnn_forward?"), "{error}");
    }

    #[test]
    fn operations_speak_for_themselves() {
        for name in ["rnn", "lstm", "gru", "linear", "cross_entropy", "mse_loss", "embedding", "add", "tanh"]
        {
            assert!(about(name).iter().any(|line| line.contains('=') || line.contains("row")), "{name}");
        }
        assert!(about("linear").iter().any(|line| line.contains("dw = dyᵀ·x")));
        assert!(about("no such operation").is_empty());
    }
}
