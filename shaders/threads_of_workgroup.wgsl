// For kernels whose workgroups take a row or a part together: what its THREADS threads have found becomes one result, by
// trees in workgroup memory. The order of the additions depends on THREADS only.

var<workgroup> numbers: array<f32, THREADS>;
var<workgroup> triples: array<vec3<f32>, THREADS>;

// Σ x over the threads; every thread gets it.
fn sum_of_threads(index: u32, x: f32) -> f32 {
    // ANCHOR: tree
    numbers[index] = x;
    for (var threads = THREADS / 2u; threads > 0u; threads /= 2u) {
        workgroupBarrier();
        if index < threads {
            numbers[index] += numbers[index + threads];
        }
    }
    workgroupBarrier();
    let sum = numbers[0];
    workgroupBarrier(); // before the next result overwrites it
    // ANCHOR_END: tree
    return sum;
}

// Three such sums at once.
fn sums_of_threads(index: u32, x: vec3<f32>) -> vec3<f32> {
    triples[index] = x;
    for (var threads = THREADS / 2u; threads > 0u; threads /= 2u) {
        workgroupBarrier();
        if index < threads {
            triples[index] += triples[index + threads];
        }
    }
    workgroupBarrier();
    let sums = triples[0];
    workgroupBarrier(); // before the next result overwrites it
    return sums;
}

// The largest x of the threads; every thread gets it. A NaN may be passed over.
fn largest_of_threads(index: u32, x: f32) -> f32 {
    numbers[index] = x;
    for (var threads = THREADS / 2u; threads > 0u; threads /= 2u) {
        workgroupBarrier();
        if index < threads {
            numbers[index] = max(numbers[index], numbers[index + threads]);
        }
    }
    workgroupBarrier();
    let largest = numbers[0];
    workgroupBarrier(); // before the next result overwrites it
    return largest;
}
