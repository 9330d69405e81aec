#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((first, second)) = bptt_fuzz::two(data) {
        bptt_fuzz::case(first, second);
    }
});
