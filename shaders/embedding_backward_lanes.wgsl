// Gradient of a look-up as in embedding_backward.wgsl, for tokens that occur often: with one thread for all positions of a
// token the most frequent ones would hold up the launch.
//     dweight[v, :] = Σ_i dy[order[i], :],   i from starts[v] to starts[v + 1]; plus the old dweight where p.accumulate is 1
//
// p: rows (of weight), width (of a row), padding (no row has the number where there is none), accumulate.
// Threads: a workgroup has LANES x COLUMNS of them. It sums COLUMNS columns of one token at a time, or four times as many
// (elements_of_one.wgsl or elements_of_four.wgsl, which follows), with LANES threads for each: each takes every LANES-th
// position, and a tree adds up the lanes. Neighbouring threads read neighbouring elements.
// Twin: src/cpu/embedding_backward.rs.

@group(0) @binding(0) var<storage, read> starts: array<i32>; // [rows + 1]
@group(0) @binding(1) var<storage, read> order: array<i32>; // [count]
@group(0) @binding(2) var<storage, read> dy: array<Elements>; // [count, width]
@group(0) @binding(3) var<storage, read_write> dweight: array<Elements>; // [rows, width]

var<workgroup> sums: array<Elements, LANES * COLUMNS>;

@compute @workgroup_size(COLUMNS, LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let columns = p.width / WIDE;
    let blocks = (columns + COLUMNS - 1u) / COLUMNS;
    for (var block = group.x; block < p.rows * blocks; block += groups.x) {
        let v = block / blocks;
        let c = block % blocks * COLUMNS + thread.x;
        var sum = Elements(0.0);
        if c < columns && v != p.padding {
            for (var i = starts[v] + i32(thread.y); i < starts[v + 1u]; i += i32(LANES)) {
                sum += load_dy(u32(order[i]) * columns + c);
            }
        }
        sums[index] = sum;
        for (var lanes = LANES / 2u; lanes > 0u; lanes /= 2u) {
            workgroupBarrier();
            if thread.y < lanes {
                sums[index] += sums[index + lanes * COLUMNS];
            }
        }
        if thread.y == 0u && c < columns {
            sum = sums[index];
            if p.accumulate == 1u {
                sum += load_dweight(v * columns + c);
            }
            store_dweight(v * columns + c, sum);
        }
        workgroupBarrier(); // before the next columns overwrite the sums
    }
}
