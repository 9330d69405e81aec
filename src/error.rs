//! The one error type: what was asked, what was found, what to do.

use std::path::{Path, PathBuf};

pub use crate::fault::Fault;

/// Everything that can go wrong, one clear sentence each.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument of an operation or a layer is not what it takes.
    #[error("{op}: {message}")]
    Argument {
        /// The operation, layer or option that was called.
        op: &'static str,
        /// What was expected and what was found.
        message: String,
    },
    /// A file of the user's is missing, unreadable or not what it should be.
    #[error("{}: {message}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and where.
        message: String,
    },
    /// No device answers to the name that was given.
    #[error("no device '{asked}': {message}")]
    NoDevice {
        /// The device as it was asked for.
        asked: String,
        /// What there is instead and what to do.
        message: String,
    },
    /// The device or its driver failed.
    #[error("{}{_0}", prefix(_0))]
    Gpu(Fault),
    /// Training produced a NaN or an infinity.
    #[error("{what} is not finite{}", at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default())]
    NonFinite {
        /// The value in question: the loss, or the output of an operation.
        what: String,
        /// Where it was first seen.
        at: Option<String>,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Argument`] of `op`.
    pub fn argument(op: &'static str, message: impl Into<String>) -> Self {
        Error::Argument { op, message: message.into() }
    }

    /// An [`Error::Data`] about `path`.
    pub fn data(path: impl AsRef<Path>, message: impl ToString) -> Self {
        Error::Data { path: path.as_ref().to_owned(), message: message.to_string() }
    }
}

/// Says that the GPU is at fault and not the user, where the sentence itself does not.
fn prefix(fault: &Fault) -> &'static str {
    match fault {
        Fault::OutOfMemory { .. }
        | Fault::TooLarge { .. }
        | Fault::Missing { .. }
        | Fault::NotRepeatable { .. } => "",
        _ => "GPU fault: ",
    }
}
