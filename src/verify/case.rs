//! One problem for a kernel: parameters, what the arguments hold, and the plans that can run it.

use crate::device::{Arg, Buffer, Device, Host, ReadBack, Values};
use crate::error::Result;
use crate::kernel::{Dtype, MAX_ARGS, Plan, Storage};

/// Elements before and behind each argument, which nobody may change: so many that arguments of all types stay aligned.
pub const GUARD: usize = Dtype::F16.alignment();

/// What guards hold. Every type of reals can hold the first.
const GUARD_REAL: f32 = -24_576.0;
const GUARD_INT: i32 = 0x5a5a_5a5a;

/// What an argument holds before the launch.
#[derive(Clone, Debug)]
pub enum Value {
    /// These reals.
    Reals(Vec<f32>),
    /// These integers.
    Ints(Vec<i32>),
    /// Poison, in so many elements: the kernel must write them before it reads them. Reals are NaN.
    Output(usize),
    /// Nothing: an optional input that is not given.
    Absent,
}

/// The largest number of a case in F16. An unbounded recurrence (ReLU) makes of it, in four steps with some hundred units, what
/// F16 can just hold. Beyond that one device may round to infinity and another not, which proves nothing.
const MOST: f32 = 0.125;

/// The numbers, all multiplied by one factor, so that none is larger than [`MOST`].
fn small(x: &[f32]) -> Vec<f32> {
    let largest = x.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
    let factor = if largest > MOST { MOST / largest } else { 1.0 };
    x.iter().map(|x| x * factor).collect()
}

impl Value {
    /// Elements.
    pub fn len(&self) -> usize {
        match self {
            Value::Reals(x) => x.len(),
            Value::Ints(x) => x.len(),
            Value::Output(len) => *len,
            Value::Absent => 0,
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it holds where elements have this type, [`GUARD`] elements before and behind it included; `None` where it is
    /// absent. Reals are rounded to what the type can hold.
    pub fn guarded(&self, dtype: Dtype) -> Option<Values> {
        fn guarded<T: Copy>(guard: T, x: &[T]) -> Vec<T> {
            [&[guard; GUARD], x, &[guard; GUARD]].concat()
        }
        match self {
            Value::Reals(x) => {
                Some(Values::F32(guarded(GUARD_REAL, &x.iter().map(|x| dtype.round(*x)).collect::<Vec<_>>())))
            }
            Value::Ints(x) => Some(Values::I32(guarded(GUARD_INT, x))),
            Value::Output(len) if dtype == Dtype::I32 => {
                Some(Values::I32(guarded(GUARD_INT, &vec![i32::MIN; *len])))
            }
            Value::Output(len) => Some(Values::F32(guarded(GUARD_REAL, &vec![f32::NAN; *len]))),
            Value::Absent => None,
        }
    }

    /// Puts it on a device, between guards.
    fn place(&self, device: &Device, dtype: Dtype) -> Result<Option<Buffer>> {
        let Some(values) = self.guarded(dtype) else { return Ok(None) };
        let data = match &values {
            Values::I32(x) => Host::I32(x),
            Values::F32(x) => Host::F32(x),
            _ => unreachable!("values are made in the types of devices"),
        };
        let buffer = device.allocate(dtype, data.len())?;
        device.upload(buffer.view(0, data.len()), data)?;
        Ok(Some(buffer))
    }
}

type Launch = dyn Fn(&Device, &Plan, &[Arg<'_>]) -> Result<()> + Send + Sync;

/// One problem for a kernel: parameters, values, and the plans that can run it.
pub struct Case {
    /// The parameters, to be read.
    pub label: String,
    /// The ways to run it: a device can take those that its limits allow.
    pub plans: Vec<Plan>,
    /// What each argument holds before the launch.
    pub values: Vec<Value>,
    /// The types in which the arguments are stored.
    pub storage: Storage,
    /// The parameters, as a shader receives them.
    pub params: Vec<u8>,
    /// Launches with the parameters.
    launch: Box<Launch>,
}

impl Case {
    /// A case of the kernel of `plans`: one value for each argument.
    pub fn new<P>(params: P, plans: Vec<Plan>, values: Vec<Value>) -> Self
    where
        P: bytemuck::Pod + std::fmt::Debug + Send + Sync,
    {
        let launch = move |device: &Device, plan: &Plan, args: &[Arg<'_>]| device.launch(plan, &params, args);
        let bytes = bytemuck::bytes_of(&params).to_vec();
        let (label, storage) = (format!("{params:?}"), plans[0].kernel.widest());
        Case { label, plans, values, storage, params: bytes, launch: Box::new(launch) }
    }

    /// The same problem, where every argument that may be of any type of reals is stored as this type.
    pub fn stored(self, dtype: Dtype) -> Self {
        self.stored_as([dtype; MAX_ARGS])
    }

    /// The same problem, where the arguments that may be of any type of reals are stored as these types.
    pub fn stored_as(mut self, dtypes: Storage) -> Self {
        self.storage = self.plans[0].kernel.stored_as(dtypes);
        if self.storage.contains(&Dtype::F16) {
            for value in &mut self.values {
                if let Value::Reals(x) = value {
                    *x = small(x);
                }
            }
        }
        self.label = format!("{} stored as {:?}", self.label, &self.storage[..self.values.len()]);
        self
    }

    /// The same problem stored as a variant takes it.
    pub fn stored_for(self, variant: usize) -> Self {
        let kernel = self.plans[0].kernel;
        if kernel.variants[variant].takes(&self.storage) {
            self
        } else {
            self.stored_as(kernel.widest_of(variant))
        }
    }

    /// The plans for a variant that a device can take, with the types in which the arguments are stored.
    pub fn plans_of(&self, variant: usize, device: &Device) -> impl Iterator<Item = &Plan> {
        let declared = &self.plans[0].kernel.variants[variant];
        let taken = declared.takes(&self.storage) && device.allows(declared);
        self.plans.iter().filter(move |plan| taken && plan.variant == variant)
    }
}

/// A case's arguments on a device, each between guards.
pub struct Placed(Vec<Option<Buffer>>);

impl Placed {
    /// Begins to read an argument, with its guards, back; `None` where it is absent.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn read_back(&self, device: &Device, argument: usize) -> Result<Option<ReadBack>> {
        self.0[argument].as_ref().map(|buffer| device.read_back(buffer.view(0, buffer.len()))).transpose()
    }

    /// The first element of an argument that is not absent.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn first(&self, device: &Device, argument: usize) -> Result<f64> {
        let buffer = self.0[argument].as_ref().expect("the argument is there");
        Ok(device.read_back(buffer.view(GUARD, 1))?.wait()?.f64()[0])
    }
}

impl Case {
    /// Puts the arguments on a device.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) when there is no room.
    pub fn place(&self, device: &Device) -> Result<Placed> {
        assert_eq!(
            self.plans[0].kernel.args.len(),
            self.values.len(),
            "the row gives a value for each argument"
        );
        let place = |(value, dtype): (&Value, Dtype)| value.place(device, dtype);
        self.values.iter().zip(self.storage).map(place).collect::<Result<_>>().map(Placed)
    }

    /// Launches with a plan.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn launch(&self, device: &Device, plan: &Plan, placed: &Placed) -> Result<()> {
        let arguments = placed.0.iter().zip(&self.values).zip(plan.kernel.args);
        let args: Vec<Arg<'_>> = arguments
            .map(|((buffer, value), declared)| match buffer {
                Some(buffer) => Arg::new(buffer.view(GUARD, value.len()), declared.access),
                None => Arg::absent(),
            })
            .collect();
        (self.launch)(device, plan, &args)
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.label)
    }
}
