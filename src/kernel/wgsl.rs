//! How the whole text of a shader is put together: a kernel's own files with loops unrolled, the common functions, constants,
//! parameters, and the functions that load and store arguments.

use super::{Declared, Dtype, Elements, GROUP, Kernel, Storage};
use crate::error::{Error, Result};

/// How a shader receives its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamSpace {
    /// As immediates (push constants), where the adapter has them.
    Immediate,
    /// As a uniform buffer with dynamic offset, binding 0 of group 1: everywhere.
    Uniform,
}

/// The form of a shader that a device needs: where parameters are, and how arguments are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Where its parameters are.
    pub space: ParamSpace,
    /// The types of its arguments.
    pub storage: Storage,
    /// Whether F16 is stored as the type `f16` of WGSL. Else two numbers share a 32-bit word, as those of BF16 always do.
    pub native: bool,
}

impl Form {
    /// All arguments in 32 bits, except where a variant takes certain types only.
    pub fn widest(kernel: &Kernel, variant: usize, space: ParamSpace) -> Form {
        let native = kernel.variants[variant].stored.is_some();
        Form { space, storage: kernel.widest_of(variant), native }
    }

    fn uses(&self, dtype: Dtype) -> bool {
        self.storage.contains(&dtype)
    }
}

impl Kernel {
    /// The whole WGSL of a variant: the kernel's own text first, so that messages keep its line numbers, then
    /// `common.wgsl`, the constants, the parameter block `p`, and of each argument that is `Float` or `Kept` the functions
    /// `load_NAME` and `store_NAME`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the text does not declare such an argument as `array<f32>` or `array<vec4<f32>>`.
    pub fn wgsl(&self, variant: usize, form: &Form) -> Result<String> {
        use std::fmt::Write;
        let variant = &self.variants[variant];
        let mut text = String::new();
        if form.native && form.uses(Dtype::F16) {
            text.push_str("enable f16; ");
        }
        if variant.needs.cooperative {
            text.push_str("enable wgpu_cooperative_matrix; ");
        }
        text.push_str(&unrolled(&variant.text(), variant.constants));
        let mut accesses = String::new();
        for (declared, dtype) in self.args.iter().zip(form.storage) {
            if matches!(declared.elements, Elements::Float | Elements::Kept) {
                let binding = Binding::find(declared, &text).ok_or_else(|| {
                    let message =
                        format!("its WGSL must declare {} as array<f32> or array<vec4<f32>>", declared.name);
                    Error::argument(self.name, message)
                })?;
                accesses.push_str(&binding.functions(dtype, form.native));
                text = binding.stored(dtype, form.native);
            }
        }
        text.push_str(include_str!("../../shaders/common.wgsl"));
        if form.uses(Dtype::F16) && !form.native {
            text.push_str(include_str!("../../shaders/f16.wgsl"));
        }
        if form.uses(Dtype::BF16) {
            text.push_str(include_str!("../../shaders/bf16.wgsl"));
        }
        text.push_str(&accesses);
        let _ = writeln!(text, "const GROUP = {GROUP}u;");
        for (name, value) in variant.constants {
            let _ = writeln!(text, "const {name} = {value}u;");
        }
        text.push_str("struct Params {\n");
        for (name, kind) in self.params {
            let _ = writeln!(text, "    {name}: {kind},");
        }
        text.push_str(match form.space {
            ParamSpace::Immediate => "}\nvar<immediate> p: Params;\n",
            ParamSpace::Uniform => "}\n@group(1) @binding(0) var<uniform> p: Params;\n",
        });
        Ok(text)
    }
}

/// Where a shader declares an argument, as an array in 32 bits.
struct Binding<'a> {
    name: &'static str,
    text: &'a str,
    /// The place of the type of the array's elements.
    place: std::ops::Range<usize>,
    /// Whether an element is four numbers.
    fours: bool,
    written: bool,
}

impl<'a> Binding<'a> {
    /// `None` where there is none, or of another type.
    fn find(declared: &Declared, text: &'a str) -> Option<Binding<'a>> {
        let name = declared.name;
        let head = format!("> {name}: array<");
        let start = text.find(&head)? + head.len();
        let end = start + text[start..].find(">;")?;
        let element = &text[start..end];
        let alias = format!("alias {element} = ");
        let element = text.split_once(&alias).and_then(|(_, rest)| rest.split(';').next()).unwrap_or(element);
        let fours = match element {
            "f32" => false,
            "vec4<f32>" => true,
            _ => return None,
        };
        let written = declared.access != super::Access::Read;
        Some(Binding { name, text, place: start..end, fours, written })
    }

    /// The shader's text with the argument declared as it is stored.
    fn stored(&self, dtype: Dtype, native: bool) -> String {
        let element = match (dtype, self.fours) {
            (Dtype::F32 | Dtype::I32, _) => return self.text.into(),
            (Dtype::F16, false) if native => "f16",
            (Dtype::F16, true) if native => "vec4<f16>",
            (_, true) => "vec2<u32>",
            (_, false) if self.written => "atomic<u32>",
            (_, false) => "u32",
        };
        let mut text = self.text.to_string();
        text.replace_range(self.place.clone(), element);
        text
    }

    /// `load_NAME` and, where the argument is written, `store_NAME`, which returns what it has stored: x, rounded to the type.
    /// Where two halves share a word, another thread may store the other half at the same time: so a store only flips the bits
    /// of its own half that change, by an atomic exclusive or.
    fn functions(&self, dtype: Dtype, native: bool) -> String {
        let Binding { name, fours, written, .. } = *self;
        let (of, to) = match dtype {
            Dtype::BF16 => ("of_bf16", "to_bf16"),
            _ => ("of_f16", "to_f16"),
        };
        let wide = if fours { "vec4<f32>" } else { "f32" };
        let (load, store) = match dtype {
            Dtype::F32 | Dtype::I32 => {
                (format!("return {name}[i];"), format!("{name}[i] = x;\n    return x;"))
            }
            Dtype::F16 if native && fours => (
                format!("return vec4<f32>({name}[i]);"),
                format!("let stored = vec4<f16>(x);\n    {name}[i] = stored;\n    return vec4<f32>(stored);"),
            ),
            Dtype::F16 if native => (
                format!("return f32({name}[i]);"),
                format!("let stored = f16(x);\n    {name}[i] = stored;\n    return f32(stored);"),
            ),
            _ if fours => (
                format!(
                    "let words = {name}[i];\n    \
                     return vec4({of}(words.x), {of}(words.x >> 16u), {of}(words.y), {of}(words.y >> 16u));"
                ),
                format!(
                    "let stored = vec4({to}(x.x), {to}(x.y), {to}(x.z), {to}(x.w));\n    \
                     {name}[i] = stored.xz | (stored.yw << vec2(16u));\n    \
                     return vec4({of}(stored.x), {of}(stored.y), {of}(stored.z), {of}(stored.w));"
                ),
            ),
            _ => {
                let word =
                    if written { format!("atomicLoad(&{name}[i / 2u])") } else { format!("{name}[i / 2u]") };
                let load = format!("return {of}({word} >> (16u * (i % 2u)));");
                let store = format!(
                    "let stored = {to}(x);\n    \
                     let shift = 16u * (i % 2u);\n    \
                     let turned = ({word} ^ (stored << shift)) & (0xffffu << shift);\n    \
                     atomicXor(&{name}[i / 2u], turned);\n    \
                     return {of}(stored);"
                );
                (load, store)
            }
        };
        let mut text = format!("fn load_{name}(i: u32) -> {wide} {{\n    {load}\n}}\n");
        if written {
            text.push_str(&format!("fn store_{name}(i: u32, x: {wide}) -> {wide} {{\n    {store}\n}}\n"));
        }
        text
    }
}

/// The text with those loops written out that ask for it. `for (var i = 0u; i < N; i++) { // unroll`, up to the brace in the same
/// column, becomes N blocks in which i is a constant. N is a number or one of the variant's constants.
///
/// Some drivers do not unroll loops, and then keep arrays that are indexed in them in memory instead of registers. And some
/// subgroup operations need an index that is a constant.
fn unrolled(text: &str, constants: &[(&str, u32)]) -> String {
    let mut out = String::with_capacity(2 * text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(header) = line.strip_suffix(") { // unroll") else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        let body = unrolled(&body.join("\n"), constants);
        let mut words = header.split_whitespace();
        let name = words.nth(2).expect("`for (var NAME` begins a loop to unroll");
        let bound = words.nth(4).expect("`= 0u; NAME < BOUND;` goes on").trim_end_matches(';');
        let constant = constants.iter().find(|(key, _)| *key == bound).map(|(_, value)| *value);
        let bound = constant.or_else(|| bound.trim_end_matches('u').parse().ok());
        for i in 0..bound.expect("the bound of a loop to unroll is a number or a constant of the variant") {
            out.push_str(&format!("{indent}{{\n{indent}    const {name} = {i}u;\n{body}{end}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::unrolled;

    #[test]
    fn loops_are_unrolled_where_they_ask_for_it() {
        let text = "for (var i = 0u; i < N; i++) { // unroll\n    for (var j = 0u; j < 1u; j++) { // unroll\n        \
                    f(i, j);\n    }\n}\nfor (var k = 0u; k < N; k++) {\n}\n";
        let block = |i| {
            format!("{{\n    const i = {i}u;\n    {{\n        const j = 0u;\n        f(i, j);\n    }}\n}}\n")
        };
        let rest = "for (var k = 0u; k < N; k++) {\n}\n";
        assert_eq!(unrolled(text, &[("N", 2)]), format!("{}{}{rest}", block(0), block(1)));
    }
}
