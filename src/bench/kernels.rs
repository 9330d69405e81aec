//! Benchmarks of kernels: first those of `cases.json`, which the peers have too, then every kernel of the [`TABLE`].

use super::data::{numbers, signed};
use super::{Bench, Case, Facts};
use crate::cpu::work::{Work, work};
use crate::device::{Device, Host};
use crate::error::Result;
use crate::kernel::{Access, Dtype, Plan, Processor};
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;
use crate::optim::{Adam, AdamConfig, Optimizer};
use crate::parameters::{Initializer, ParameterId, Parameters, Precision};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use crate::verify::{Draw, GUARD, Row, TABLE};

/// The kernel cases of cases.json, then a case for each kernel of the table with each of its variants.
pub fn kernels(device: &Device) -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("sgemm_256", [256, 256, 256]),
        ("sgemm_1024", [1024, 1024, 1024]),
        ("sgemm_64x512x2048", [64, 512, 2048]),
    ]
    .map(|(name, [m, k, n])| Case {
        name: name.into(),
        about: format!("[{m}, {k}] x [{k}, {n}]"),
        halves: true,
        prepare: Box::new(move |device, precision| Product::prepare(device, precision, [m, k, n])),
    })
    .into();
    cases.push(Case {
        name: "softmax_xent".into(),
        about: "4096 rows of 1000 classes: loss and gradient".into(),
        halves: true,
        prepare: Box::new(|device, precision| CrossEntropy::prepare(device, precision, 4096, 1000)),
    });
    cases.push(Case {
        name: "adam_10m".into(),
        about: "10 million parameters: one step, and the copies that layers get".into(),
        halves: true,
        prepare: Box::new(|device, precision| Update::prepare(device, precision, 10_000_000)),
    });
    for row in TABLE {
        // On the CPU a kernel has one twin for all its variants.
        let most = if device.limits().processor == Processor::Cpu { 1 } else { row.kernel.variants.len() };
        for variant in row.kernel.variants[..most].iter().filter(|variant| device.allows(variant)) {
            let of = variant.name;
            let name = if most == 1 { String::new() } else { format!(" {of}").replace(' ', "_") };
            cases.push(Case {
                name: format!("table/{}{name}", row.kernel.name),
                about: "a large case of the checks".into(),
                halves: row.kernel.args.iter().any(|arg| arg.elements.take(Dtype::F16)),
                prepare: Box::new(move |device, precision| OfTable::prepare(device, precision, row, of)),
            });
        }
    }
    cases
}

/// The bytes of an element.
fn size_of_element(tensor: &Tensor) -> f64 {
    tensor.dtype().size() as f64
}

/// The first number of a tensor.
fn first(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.slice(0, [1])?.to_vec()?[0].into())
}

struct Product {
    tape: Tape,
    factors: [Tensor; 2],
    sizes: [usize; 3],
    result: Option<Var>,
}

impl Product {
    fn prepare(device: &Device, precision: Precision, sizes: [usize; 3]) -> Result<Box<dyn Bench>> {
        let [m, k, n] = sizes;
        let a = Tensor::from_f32(device, [m, k], &signed(m * k, 1))?.cast(precision.dtype())?;
        let b = Tensor::from_f32(device, [k, n], &signed(k * n, 7))?.cast(precision.dtype())?;
        let tape = Tape::without_parameters(device);
        Ok(Box::new(Product { tape, factors: [a, b], sizes, result: None }))
    }
}

impl Bench for Product {
    fn step(&mut self) -> Result<()> {
        self.tape.clear();
        let [a, b] = [0, 1].map(|i| self.tape.constant(&self.factors[i]));
        self.result = Some(self.tape.matmul(a, b)?);
        Ok(())
    }

    fn fetch(&mut self) -> Result<f64> {
        first(self.tape.value(self.result.expect("a step comes before"))?)
    }

    fn results(&mut self) -> Result<Vec<Vec<f64>>> {
        Ok(vec![self.tape.value(self.result.expect("a step comes before"))?.to_f64()?])
    }

    fn facts(&self) -> Facts {
        let [m, k, n] = self.sizes.map(|size| size as f64);
        let bytes = size_of_element(&self.factors[0]) * (m * k + k * n + m * n);
        Facts { operations: Some(2.0 * m * k * n), bytes: Some(bytes), parameters: None }
    }
}

struct CrossEntropy {
    tape: Tape,
    logits: Tensor,
    labels: Indices,
    /// The logits and the loss.
    made: Option<[Var; 2]>,
}

impl CrossEntropy {
    fn prepare(device: &Device, precision: Precision, rows: usize, classes: usize) -> Result<Box<dyn Bench>> {
        let logits = Tensor::from_f32(device, [rows, classes], &signed(rows * classes, 1))?;
        let logits = logits.cast(precision.dtype())?;
        let labels: Vec<i32> = numbers(rows, 1).map(|u| (u as usize % classes) as i32).collect();
        let labels = Indices::new(device, [rows], &labels)?;
        let tape = Tape::without_parameters(device);
        Ok(Box::new(CrossEntropy { tape, logits, labels, made: None }))
    }
}

impl Bench for CrossEntropy {
    fn step(&mut self) -> Result<()> {
        self.tape.clear();
        let logits = self.tape.input(&self.logits);
        let loss = self.tape.cross_entropy(logits, &self.labels, &CrossEntropyLoss::default())?;
        self.tape.backward(loss)?;
        self.made = Some([logits, loss]);
        Ok(())
    }

    fn fetch(&mut self) -> Result<f64> {
        let [_, loss] = self.made.expect("a step comes before");
        first(self.tape.value(loss)?)
    }

    fn results(&mut self) -> Result<Vec<Vec<f64>>> {
        let [logits, loss] = self.made.expect("a step comes before");
        let gradient = self.tape.gradient(logits)?.expect("the logits are an input");
        Ok(vec![self.tape.value(loss)?.to_f64()?, gradient.to_f64()?])
    }

    fn facts(&self) -> Facts {
        // The logits are read once, and their gradient is written once.
        let bytes = 2.0 * size_of_element(&self.logits) * self.logits.count() as f64;
        Facts { bytes: Some(bytes), ..Facts::default() }
    }
}

struct Update {
    adam: Adam,
    parameters: Parameters,
    id: ParameterId,
}

impl Update {
    fn prepare(device: &Device, precision: Precision, count: usize) -> Result<Box<dyn Bench>> {
        let mut init = Initializer::in_precision(device, 0, precision);
        let id = init.constant("parameter", [count], 0.0);
        let parameters = init.build()?;
        parameters.set("parameter", Host::F32(&signed(count, 1)))?;
        parameters.gradient(id)?.assign(Host::F32(&signed(count, 7)))?;
        let adam = Adam::new(&parameters, AdamConfig::default())?;
        Ok(Box::new(Update { adam, parameters, id }))
    }
}

impl Bench for Update {
    fn step(&mut self) -> Result<()> {
        self.adam.step(None)?;
        self.parameters.refresh()
    }

    fn fetch(&mut self) -> Result<f64> {
        first(&self.parameters.in_layers(self.id)?)
    }

    fn results(&mut self) -> Result<Vec<Vec<f64>>> {
        Ok(vec![self.parameters.in_layers(self.id)?.to_f64()?])
    }

    fn facts(&self) -> Facts {
        let count = self.parameters.count();
        // The gradient is read; value and both moments are changed. A copy reads the value and is written.
        let copy = match self.parameters.precision() {
            Precision::F32 => 0,
            half => 4 + half.dtype().size(),
        };
        let bytes = (28 + copy) as f64 * count as f64;
        Facts { parameters: Some(count), bytes: Some(bytes), operations: None }
    }
}

/// How many cases are drawn at most to find one for a variant.
const SEEDS: u64 = 1000;

/// A kernel of the table with a large case.
struct OfTable {
    device: Device,
    case: crate::verify::Case,
    plan: Plan,
    buffers: crate::verify::Placed,
}

impl OfTable {
    fn prepare(
        device: &Device,
        precision: Precision,
        row: &'static Row,
        variant: &'static str,
    ) -> Result<Box<dyn Bench>> {
        let index = row.kernel.variants.iter().position(|v| v.name == variant);
        let index = index.expect("the variant is the kernel's");
        let (case, plan) = of_variant(row, index, device);
        // The same values in every precision: those that F16 can hold.
        let case = case.stored(Dtype::F16).stored(precision.dtype());
        let buffers = case.place(device)?;
        Ok(Box::new(OfTable { device: device.clone(), case, plan, buffers }))
    }
}

impl Bench for OfTable {
    fn step(&mut self) -> Result<()> {
        self.case.launch(&self.device, &self.plan, &self.buffers)
    }

    fn fetch(&mut self) -> Result<f64> {
        let written = self.plan.kernel.args.iter().position(|arg| arg.access != Access::Read);
        let written = written.expect("a kernel writes something");
        self.buffers.first(&self.device, written)
    }

    fn results(&mut self) -> Result<Vec<Vec<f64>>> {
        let written = self.plan.kernel.args.iter().enumerate().filter(|(_, arg)| arg.access != Access::Read);
        let read = written.filter_map(|(i, _)| self.buffers.read_back(&self.device, i).transpose());
        // Without the guards around them.
        let inner = |values: Vec<f64>| values[GUARD..values.len() - GUARD].to_vec();
        read.map(|values| Ok(inner(values?.wait()?.f64()))).collect()
    }

    fn facts(&self) -> Facts {
        let counts: Vec<u64> = self.case.values.iter().map(|value| value.len() as u64).collect();
        let Work { operations, elements } = work(self.plan.kernel, &self.case.params, &counts);
        let moved = elements.iter().zip(self.case.storage);
        let bytes = moved.map(|([read, written], dtype)| (read + written) as f64 * dtype.size() as f64).sum();
        let operations = operations.filter(|n| *n > 0).map(|n| n as f64);
        Facts { bytes: Some(bytes), operations, parameters: None }
    }
}

/// A large case that a plan of this variant can run. Not every case will do: some variants of matmul are for transposed factors,
/// for example.
fn of_variant(row: &Row, variant: usize, device: &Device) -> (crate::verify::Case, Plan) {
    let found = (0..SEEDS).find_map(|seed| {
        let case = (row.make)(&mut Draw::for_bench(row.make, seed)).stored_for(variant);
        let plan = case.plans_of(variant, device).next().copied()?;
        Some((case, plan))
    });
    found.unwrap_or_else(|| {
        panic!("no large case of {} for {}", row.kernel.name, row.kernel.variants[variant].name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::LEAST;

    /// On every adapter that bptt accepts.
    #[test]
    fn every_variant_can_be_measured() {
        for row in TABLE {
            for variant in 0..row.kernel.variants.len() {
                let (case, plan) = of_variant(row, variant, &Device::cpu());
                assert_eq!(plan.variant, variant);
                let largest = case.values.iter().map(|value| 4 * value.len() as u64).max();
                // Half of it, as the pool rounds up.
                let most = LEAST.binding / 2;
                assert!(largest <= Some(most), "{} {variant}: {largest:?} bytes", row.kernel.name);
            }
        }
    }
}
