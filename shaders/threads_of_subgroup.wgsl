// For kernels whose workgroups take a row or a part together: what the threads of a workgroup that is one subgroup have found
// becomes one result, without workgroup memory and barriers; for adapters on which they cost more than they save (software
// such as llvmpipe).

// Σ x over the threads; every thread gets it.
fn sum_of_threads(index: u32, x: f32) -> f32 {
    var sum = 0.0;
    for (var thread = 0u; thread < THREADS; thread++) { // unroll
        sum += subgroupBroadcast(x, thread);
    }
    return sum;
}

// Three such sums at once.
fn sums_of_threads(index: u32, x: vec3<f32>) -> vec3<f32> {
    return vec3(sum_of_threads(index, x.x), sum_of_threads(index, x.y), sum_of_threads(index, x.z));
}

// The largest x of the threads; every thread gets it. A NaN may be passed over.
fn largest_of_threads(index: u32, x: f32) -> f32 {
    var largest = x;
    for (var thread = 0u; thread < THREADS; thread++) { // unroll
        largest = max(largest, subgroupBroadcast(x, thread));
    }
    return largest;
}
