//! Parsers of numbers on the command line. Their errors say in words what is wrong with a number.

use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

use bptt::train::LARGEST;

/// A whole number, within what files can hold.
pub fn whole<T: FromStr<Err = ParseIntError> + TryInto<i64> + Copy>(text: &str) -> Result<T, String> {
    let number: T = text
        .parse()
        .map_err(|error: ParseIntError| too_large_or(&error, "must be a whole number, 0 or more"))?;
    if number.try_into().is_ok() { Ok(number) } else { Err("too large".into()) }
}

/// A whole number of at least 1, within what files can hold.
pub fn at_least_1<T: FromStr<Err = ParseIntError> + TryInto<i64> + Copy>(text: &str) -> Result<T, String> {
    let must = "must be a whole number of at least 1";
    let number: T = text.parse().map_err(|error| too_large_or(&error, must))?;
    match number.try_into() {
        Err(_) => Err("too large".into()),
        Ok(number) if number < 1 => Err(must.into()),
        Ok(_) => Ok(number),
    }
}

fn too_large_or(error: &ParseIntError, must: &str) -> String {
    if *error.kind() == IntErrorKind::PosOverflow { "too large".into() } else { must.into() }
}

/// A number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|x| *x > 0.0)
        .ok_or_else(|| format!("must be a number above 0 and at most {LARGEST:e}"))
}

/// A number that is not negative.
pub fn not_negative(text: &str) -> Result<f64, String> {
    number(text).filter(|x| *x >= 0.0).ok_or_else(|| format!("must be a number from 0 to {LARGEST:e}"))
}

/// A number from 0 to 1.
pub fn at_most_1(text: &str) -> Result<f64, String> {
    number(text).filter(|x| (0.0..=1.0).contains(x)).ok_or_else(|| "must be a number from 0 to 1".into())
}

/// A number above 0 and at most 1.
pub fn top_share(text: &str) -> Result<f64, String> {
    number(text)
        .filter(|x| *x > 0.0 && *x <= 1.0)
        .ok_or_else(|| "must be a number above 0 and at most 1".into())
}

/// A number of 1 or more.
pub fn from_1(text: &str) -> Result<f64, String> {
    number(text).filter(|x| *x >= 1.0).ok_or_else(|| "must be a number of at least 1".into())
}

/// A number between 0 and 1.
pub fn share(text: &str) -> Result<f64, String> {
    number(text).filter(|x| *x > 0.0 && *x < 1.0).ok_or_else(|| "must be a number above 0 and below 1".into())
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|x: &f64| *x <= LARGEST)
}
