//! Kernels whose workgroups add up numbers together: by trees in workgroup memory (`shaders/threads_of_workgroup.wgsl`), or where
//! workgroups are slow as a single subgroup (`shaders/threads_of_subgroup.wgsl`).

use crate::kernel::{Kernel, Limits, MAX_GROUPS, Plan, Processor};

/// The longest row for a subgroup of 8 threads, so that three passes over it stay below the 65,535 iterations after which llvmpipe
/// silently ends the loops of a thread.
const LONGEST: u32 = 8 * 16_384;

/// Every way to run a kernel that gives each row to a workgroup: by its variant `first`, and where rows are short enough by the
/// one behind it, which is the same for a subgroup.
pub fn by_rows(kernel: &'static Kernel, first: usize, rows: u32, cols: u32) -> Vec<Plan> {
    let grid = [rows.clamp(1, MAX_GROUPS), 1, 1];
    let short = u64::from(rows.div_ceil(MAX_GROUPS)) * u64::from(cols) <= LONGEST.into();
    let variants = first..first + if short { 2 } else { 1 };
    variants.map(|variant| Plan { kernel, variant, grid }).collect()
}

/// The way to take of those by a workgroup and by a subgroup, of which the latter may be missing: the subgroup where workgroups are
/// slow, which is in software.
pub fn chosen(ways: &[Plan], limits: &Limits) -> Plan {
    let quick = |way: &&Plan| {
        limits.processor == Processor::Software && limits.allow(&way.kernel.variants[way.variant])
    };
    *ways[1..].iter().find(quick).unwrap_or(&ways[0])
}
