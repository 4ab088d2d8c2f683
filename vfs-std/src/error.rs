//! Error numbers of the system as [`IoErrorKind`].

use std::io;

use nokv_core::vfs::{IoError, IoErrorKind};
use rustix::io::Errno;

/// The kind of an error number.
fn kind_of(errno: Errno) -> IoErrorKind {
    match errno {
        Errno::NOENT => IoErrorKind::NotFound,
        Errno::EXIST => IoErrorKind::AlreadyExists,
        Errno::NOSPC | Errno::DQUOT => IoErrorKind::NoSpace,
        Errno::PERM | Errno::ACCESS | Errno::ROFS => IoErrorKind::PermissionDenied,
        Errno::MFILE | Errno::NFILE => IoErrorKind::TooManyFiles,
        Errno::AGAIN => IoErrorKind::WouldBlock,
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV | Errno::MLINK => IoErrorKind::Unsupported,
        // A directory stands where a file was meant, or the other way round, or the path makes no sense.
        Errno::NOTEMPTY
        | Errno::INVAL
        | Errno::ISDIR
        | Errno::NOTDIR
        | Errno::NAMETOOLONG
        | Errno::LOOP
        | Errno::FBIG => IoErrorKind::InvalidInput,
        _ => IoErrorKind::Other,
    }
}

/// An error number as an [`IoError`].
pub(crate) fn from_errno(errno: Errno) -> IoError {
    IoError { kind: kind_of(errno), code: errno.raw_os_error() }
}

/// An error of the standard library as an [`IoError`].
pub(crate) fn from_io(error: io::Error) -> IoError {
    match (Errno::from_io_error(&error), error.kind()) {
        (Some(errno), _) => from_errno(errno),
        // A path with a zero byte never reaches the system.
        (None, io::ErrorKind::InvalidInput) => IoError::new(IoErrorKind::InvalidInput),
        (None, _) => IoError::new(IoErrorKind::Other),
    }
}
