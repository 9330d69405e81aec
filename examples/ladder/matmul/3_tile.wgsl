// Rung 3: a workgroup computes a tile of 16 x 16 elements. For every 16 k its threads load a tile of a and one of b into
// workgroup memory, one number of each a thread, and each number that was loaded is used by 16 threads.

@group(0) @binding(0) var<storage, read> a: array<f32>; // [M, K]
@group(0) @binding(1) var<storage, read> b: array<f32>; // [K, N]
@group(0) @binding(2) var<storage, read_write> c: array<f32>; // [M, N]

var<workgroup> tile_a: array<f32, 256>; // [16 rows, 16 k]
var<workgroup> tile_b: array<f32, 256>; // [16 k, 16 columns]

@compute @workgroup_size(16, 16)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    var sum = 0.0;
    for (var start = 0u; start < p.k; start += 16u) {
        tile_a[index] = of_a(id.y, start + thread.x);
        tile_b[index] = of_b(start + thread.y, id.x);
        workgroupBarrier(); // the tiles are complete
        for (var k = 0u; k < 16u; k++) {
            sum += tile_a[thread.y * 16u + k] * tile_b[k * 16u + thread.x];
        }
        workgroupBarrier(); // nobody reads them any more
    }
    if id.y < p.m && id.x < p.n {
        c[id.y * p.n + id.x] = sum;
    }
}

// Beyond the ends are zeros, which change no sum.
fn of_a(row: u32, k: u32) -> f32 {
    if row < p.m && k < p.k {
        return a[row * p.k + k];
    }
    return 0.0;
}

fn of_b(k: u32, col: u32) -> f32 {
    if k < p.k && col < p.n {
        return b[k * p.n + col];
    }
    return 0.0;
}
