#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    bptt_fuzz::converted(data);
});
