//! The kernels of the rungs, with their twins: what each shader computes, in f32 on the CPU device.

use bptt::kernel;
use bptt::kernel::Real;

kernel! {
    /// `c[i, j] = Σ_k a[i, k]·b[k, j]`: rungs 1 to 4.
    pub static PRODUCT = product(Product { m: u32, n: u32, k: u32 }; a: read F32, b: read F32, c: write F32);
    variants [
        { "naive", (include_str!("1_naive.wgsl")), [] },
        { "coalesced", (include_str!("2_coalesced.wgsl")), [] },
        { "tile", (include_str!("3_tile.wgsl")), [] },
        { "registers", (include_str!("4_registers.wgsl")), [] },
    ]
}

pub fn product<R: Real>(p: &Product, a: &[R], b: &[R], c: &mut [R]) {
    let Product { m, n, k } = *p;
    product_in_parts(&ProductInParts { m, n, k, depth: k }, a, b, c);
}

kernel! {
    /// `c[s, i, j] = Σ_k a[i, k]·b[k, j]` over the k from `s·depth` up to `(s + 1)·depth`: rungs 5 and 6.
    pub static PRODUCT_IN_PARTS = product_in_parts(ProductInParts { m: u32, n: u32, k: u32, depth: u32 };
        a: read F32, b: read F32, c: write F32);
    variants [{ "vectors", (include_str!("5_vectors.wgsl")), [] }]
}

impl ProductInParts {
    pub fn parts(&self) -> u32 {
        self.k.div_ceil(self.depth)
    }
}

fn product_in_parts<R: Real>(p: &ProductInParts, a: &[R], b: &[R], c: &mut [R]) {
    let [m, n, k, depth] = [p.m, p.n, p.k, p.depth].map(|size| size as usize);
    for part in 0..p.parts() as usize {
        let ks = part * depth..k.min((part + 1) * depth);
        for row in 0..m {
            for col in 0..n {
                let products = ks.clone().map(|k_| a[row * k + k_] * b[k_ * n + col]);
                c[(part * m + row) * n + col] = R::sum(products);
            }
        }
    }
}

kernel! {
    /// `c[i] = Σ_s parts[s, i]`: rung 6.
    pub static ADD_PARTS = add_parts(AddParts { count: u32, parts: u32 }; parts: read F32, c: write F32);
    variants [{ "elements", (include_str!("6_add_parts.wgsl")), [] }]
}

fn add_parts<R: Real>(p: &AddParts, parts: &[R], c: &mut [R]) {
    let count = p.count as usize;
    for i in 0..count {
        c[i] = R::sum((0..p.parts as usize).map(|s| parts[s * count + i]));
    }
}
