//! What the command prints, word for word: its help and its errors. After an intended change,
//! `TRYCMD=overwrite cargo test --test snapshots` writes the new words; read them in the diff.
#![cfg(feature = "cli")]

#[test]
fn help_and_errors() {
    trycmd::TestCases::new()
        .env("BPTT_DEVICE", "cpu")
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .case("tests/snapshots/*.trycmd");
}
