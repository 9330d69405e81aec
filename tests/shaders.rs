//! Every shader in every form: it is valid standard WGSL within WebGPU's limits, translates to what Vulkan, Metal and
//! DX12 take, and declares what its kernel declares.

use std::io::Write;
use std::process::{Command, Stdio};

use bptt::kernel::{Access, Dtype, Elements, Form, Kernel, LEAST, ParamSpace, Variant};
use bptt::verify::TABLE;
use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Expression, MathFunction, Module, ScalarKind, StorageAccess, TypeInner};

#[path = "../examples/ladder/lstm/kernels.rs"]
#[allow(dead_code, reason = "only the declarations are looked at")]
mod ladder_lstm;
#[path = "../examples/ladder/matmul/kernels.rs"]
#[allow(dead_code, reason = "only the declarations are looked at")]
mod ladder_matmul;

/// The kernels of `examples/ladder`.
static LADDER: [&Kernel; 7] = [
    &ladder_matmul::PRODUCT,
    &ladder_matmul::PRODUCT_IN_PARTS,
    &ladder_matmul::ADD_PARTS,
    &ladder_lstm::ELEMENTWISE,
    &ladder_lstm::GATES,
    &ladder_lstm::STEP,
    &ladder_lstm::SEQUENCE,
];

/// A kernel's variant in one form.
struct Shader {
    kernel: &'static Kernel,
    variant: &'static Variant,
    form: Form,
    name: String,
    module: Module,
    info: ModuleInfo,
}

/// Parsed and validated with no capability but those for immediates and, where they are needed, subgroups and `f16`.
fn parsed(kernel: &'static Kernel, variant: usize, form: Form) -> Shader {
    let Form { space, storage, native } = form;
    let storage = &storage[..kernel.args.len()];
    let name = format!("{kernel:?} ({}, {space:?}, {storage:?}, {native})", kernel.variants[variant].name);
    let text = kernel.wgsl(variant, &form).unwrap();
    let module =
        naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&text)));
    let mut capabilities = match space {
        ParamSpace::Immediate => Capabilities::IMMEDIATES,
        ParamSpace::Uniform => Capabilities::empty(),
    };
    capabilities.set(Capabilities::SUBGROUP, kernel.variants[variant].needs.subgroup > 0);
    capabilities.set(Capabilities::SHADER_FLOAT16, native && storage.contains(&Dtype::F16));
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, kernel.variants[variant].needs.cooperative);
    let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
    let info = info.unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(&text)));
    Shader { kernel, variant: &kernel.variants[variant], form, name, module, info }
}

fn shaders() -> impl Iterator<Item = Shader> {
    TABLE.iter().map(|row| row.kernel).chain(LADDER).flat_map(|kernel| {
        (0..kernel.variants.len())
            .flat_map(move |variant| forms(kernel, variant).map(move |form| parsed(kernel, variant, form)))
    })
}

/// The ways to pass parameters, and to store what may be stored as any type of reals.
fn forms(kernel: &'static Kernel, variant: usize) -> impl Iterator<Item = Form> {
    let widest = kernel.widest();
    let spaces = [ParamSpace::Immediate, ParamSpace::Uniform];
    let halves = [(Dtype::F16, false), (Dtype::F16, true), (Dtype::BF16, false)];
    let halves = halves.into_iter().map(|(dtype, native)| (kernel.stored(dtype), native));
    let halves =
        halves.filter(move |(storage, _)| *storage != widest && kernel.variants[variant].takes(storage));
    let halves = halves.map(|(storage, native)| Form { space: ParamSpace::Uniform, storage, native });
    spaces.map(|space| Form::widest(kernel, variant, space)).into_iter().chain(halves)
}

#[test]
fn every_backend_takes_every_shader() {
    for Shader { name, variant, module, info, .. } in shaders() {
        let words = spv::write_vec(&module, &info, &spv::Options::default(), None);
        assert!(words.is_ok(), "{name}: SPIR-V: {words:?}");
        if variant.needs.cooperative {
            continue; // HLSL has no such matrices, Metal none of 16 x 16: adapters there never list them
        }
        let text =
            msl::write_string(&module, &info, &msl::Options::default(), &msl::PipelineOptions::default());
        assert!(text.is_ok(), "{name}: MSL: {text:?}");
        let options =
            hlsl::Options { immediates_target: Some(hlsl::BindTarget::default()), ..Default::default() };
        let (pipeline, mut text) = (hlsl::PipelineOptions::default(), String::new());
        let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
        assert!(written.is_ok(), "{name}: HLSL: {:?}", written.err());
    }
}

/// What spirv-val says against a module that Vulkan of that version is to take; nothing where it is valid.
fn spirv_val(version: &str, words: &[u32]) -> String {
    let mut command = Command::new("spirv-val");
    command
        .args(["--target-env", version, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command.spawn().unwrap_or_else(|error| {
        panic!("spirv-val: {error}\nrun scripts/test, which installs it, or install spirv-tools yourself")
    });
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    process.stdin.take().expect("it is piped").write_all(&bytes).unwrap();
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_string();
    if output.status.success() || !said.is_empty() { said } else { output.status.to_string() }
}

/// As wgpu translates them for Vulkan: for the oldest version with all guards, as shaders of others have them, and for the
/// newest with no more than this package's have, on a driver that checks bounds itself.
#[test]
fn spirv_val_accepts_every_shader() {
    let mut failures = Vec::new();
    for Shader { name, variant, module, info, .. } in shaders() {
        // Subgroups came with Vulkan 1.1.
        let oldest = if variant.needs.subgroup > 0 { ("vulkan1.1", (1, 3)) } else { ("vulkan1.0", (1, 0)) };
        for ((version, lang_version), guards) in [(oldest, true), (("vulkan1.3", (1, 6)), false)] {
            let buffer = if guards { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
            let options = spv::Options {
                lang_version,
                bounds_check_policies: BoundsCheckPolicies {
                    index: BoundsCheckPolicy::Restrict,
                    buffer,
                    ..BoundsCheckPolicies::default()
                },
                force_loop_bounding: guards,
                emit_int_div_checks: guards,
                zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
                ..spv::Options::default()
            };
            let words = spv::write_vec(&module, &info, &options, None);
            let words = words.unwrap_or_else(|error| panic!("{name} for {version}: {error}"));
            let said = spirv_val(version, &words);
            // A spirv-val of before mid-2023 has not heard of cooperative matrices.
            let unknown = variant.needs.cooperative && said.contains("Invalid capability operand: 6022");
            let accepted = said.is_empty() || unknown;
            failures.extend((!accepted).then(|| format!("{name} for {version}: {said}")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The test above would see it.
#[test]
fn spirv_val_refuses_what_is_invalid() {
    let Shader { module, info, .. } = shaders().next().expect("there are shaders");
    let mut words = spv::write_vec(&module, &info, &spv::Options::default(), None).unwrap();
    assert_eq!(spirv_val("vulkan1.1", &words), "");
    words[3] = 2; // a bound of the numbers that is below those in use
    assert!(spirv_val("vulkan1.1", &words).contains("bound"), "{}", spirv_val("vulkan1.1", &words));
}

#[test]
fn shaders_declare_and_use_what_their_kernels_declare() {
    for Shader { kernel, form, name, module, info, .. } in shaders() {
        let bound = |group| {
            let variables = module.global_variables.iter();
            let mut bound: Vec<_> = variables
                .filter_map(|(handle, v)| Some((v.binding.filter(|b| b.group == group)?.binding, handle)))
                .collect();
            bound.sort();
            bound
        };
        let arguments = bound(0);
        assert_eq!(arguments.len(), kernel.args.len(), "{name}: arguments");
        for (i, (declared, (binding, handle))) in kernel.args.iter().zip(arguments).enumerate() {
            let dtype = form.storage[i];
            let packed = dtype.is_half() && !(form.native && dtype == Dtype::F16);
            let variable = &module.global_variables[handle];
            assert_eq!((binding as usize, variable.name.as_deref()), (i, Some(declared.name)), "{name}");
            let (access, used) = match declared.access {
                Access::Read => (StorageAccess::LOAD, GlobalUse::READ),
                // Whoever stores a half looks at the word that it shares.
                Access::Write if packed => {
                    (StorageAccess::LOAD | StorageAccess::STORE, GlobalUse::READ | GlobalUse::WRITE)
                }
                Access::Write => (StorageAccess::LOAD | StorageAccess::STORE, GlobalUse::WRITE),
                Access::Update => {
                    (StorageAccess::LOAD | StorageAccess::STORE, GlobalUse::READ | GlobalUse::WRITE)
                }
            };
            assert_eq!(variable.space, AddressSpace::Storage { access }, "{name}: {}", declared.name);
            let usage = info.get_entry_point(0)[handle];
            // An update may leave the old values alone; a write may not read what it did not write.
            assert!(
                used.contains(usage) && !usage.is_empty(),
                "{name}: {} is used for {usage:?}",
                declared.name
            );
            let TypeInner::Array { base, .. } = module.types[variable.ty].inner else {
                panic!("{name}: {} is no array", declared.name)
            };
            let kind = match declared.elements {
                Elements::I32 => ScalarKind::Sint,
                Elements::Float | Elements::Kept if packed => ScalarKind::Uint,
                Elements::F32 | Elements::Float | Elements::Kept => ScalarKind::Float,
            };
            let inner = &module.types[base].inner;
            let found = match inner {
                TypeInner::Atomic(scalar) => Some(scalar.kind),
                other => other.scalar_kind(),
            };
            assert_eq!(found, Some(kind), "{name}: {}", declared.name);
        }
        for (param, _) in kernel.params {
            let used = kernel.variants.iter().all(|variant| variant.text().contains(&format!("p.{param}")));
            assert!(used, "{name}: the parameter {param} is not used");
        }
    }
}

#[test]
fn shaders_keep_to_the_limits_of_webgpu_or_say_what_they_need() {
    for Shader { kernel, variant, name, module, .. } in shaders() {
        assert!(kernel.args.len() <= 8 && kernel.params.len() <= 32, "{name}");
        // A kernel can be run everywhere: one of its variants needs nothing more.
        let modest = |v: &Variant| v.needs.subgroup == 0 && v.needs.threads <= LEAST.threads;
        assert!(kernel.variants.iter().any(|v| modest(v) && v.needs.memory <= LEAST.memory), "{name}");
        let [x, y, z] = module.entry_points[0].workgroup_size;
        let needs = &variant.needs;
        let threads = x * y * z;
        assert!(threads <= needs.threads, "{name}: a workgroup of {x} x {y} x {z} threads");
        assert!(needs.subgroup == 0 || threads == needs.subgroup, "{name}: a workgroup is a subgroup");
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let shared =
            module.global_variables.iter().filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, variable)| layouter[variable.ty].size.next_multiple_of(16)).sum();
        assert!(bytes <= needs.memory, "{name}: {bytes} bytes of workgroup memory");
    }
}

#[test]
fn shaders_never_call_builtins_that_fail_on_some_drivers() {
    for Shader { name, module, .. } in shaders() {
        let entry_points = module.entry_points.iter().map(|entry_point| &entry_point.function);
        let functions = module.functions.iter().map(|(_, function)| function).chain(entry_points);
        for function in functions {
            let calls = |called| {
                let mut all = function.expressions.iter().map(|(_, expression)| expression);
                all.any(|expression| matches!(expression, Expression::Math { fun, .. } if *fun == called))
            };
            assert!(
                !calls(MathFunction::Tanh),
                "{name} calls tanh, which is NaN for large arguments: use tanh_rational"
            );
            let own = function.name.as_deref() == Some("logarithm");
            assert!(
                own || !calls(MathFunction::Log),
                "{name} calls log, which is no NaN of NaN: use logarithm"
            );
        }
    }
}

#[test]
fn shaders_are_finished() {
    for row in TABLE {
        assert!(row.kernel.variants.iter().all(|variant| !variant.text().contains("TODO")), "{row:?}");
    }
}
