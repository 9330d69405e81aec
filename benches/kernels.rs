//! `cargo bench`: `bptt bench kernels` on the device that BPTT_DEVICE names, or the best.

use bptt::bench::{Protocol, Roofline, kernels, measure};
use bptt::device::Device;
use bptt::error::Result;
use bptt::parameters::Precision;

fn main() -> Result<()> {
    let device = Device::auto()?;
    let most = Roofline::measure(&device)?;
    println!(
        "{device:?}: {:.1} GB/s, {:.1} GFLOP/s",
        most.bytes_per_second / 1e9,
        most.operations_per_second / 1e9
    );
    let protocol = Protocol { seconds: 0.5, ..Protocol::default() };
    for case in kernels(&device) {
        let measured = measure(&device, &case, Precision::F32, &protocol, &|| false)?;
        println!(
            "{:40} {:10.4} ms  ({:.4} .. {:.4})",
            measured.name, measured.ms, measured.min, measured.max
        );
    }
    Ok(())
}
