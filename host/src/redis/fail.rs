//! Why a command has no answer, and the words that clients are told: those of Redis 7 where it has the case.

use std::borrow::Cow;

use nokv_core::Error;
use nokv_core::formats::Malformed;
use nokv_core::formats::redis::NAME_BYTES_MAX;

/// A command that failed.
#[derive(Debug, Clone)]
pub enum Fail {
    /// What the client did wrong, as an error line with its code.
    Said(Cow<'static, str>),
    /// What the store met.
    Store(Error),
}

/// What a command gives.
pub type Answer<T> = std::result::Result<T, Fail>;

impl Fail {
    /// An error line, code included.
    pub const fn of(text: &'static str) -> Self {
        Self::Said(Cow::Borrowed(text))
    }

    /// An error line that was put together.
    pub const fn text(text: String) -> Self {
        Self::Said(Cow::Owned(text))
    }

    /// The key holds another type.
    pub const WRONG_TYPE: Self =
        Self::of("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// Arguments that make no sense together.
    pub const SYNTAX: Self = Self::of("ERR syntax error");
    /// An argument is no integer.
    pub const NOT_AN_INTEGER: Self = Self::of("ERR value is not an integer or out of range");
    /// An argument is no number.
    pub const NOT_A_FLOAT: Self = Self::of("ERR value is not a valid float");
    /// A key that has to be there is not.
    pub const NO_SUCH_KEY: Self = Self::of("ERR no such key");
    /// An index that is not there.
    pub const OUT_OF_RANGE: Self = Self::of("ERR index out of range");

    /// A string would be longer than strings may be.
    pub const STRING_TOO_LONG: Self =
        Self::of("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

    /// Too few or too many arguments.
    pub fn arity(command: &str) -> Self {
        Self::text(format!("ERR wrong number of arguments for '{command}' command"))
    }

    /// Is it about what one command asked for? Then a transaction goes on. All else is about the store.
    pub const fn is_of_command(&self) -> bool {
        matches!(self, Self::Said(_) | Self::Store(Error::KeyTooLarge(_) | Error::ValueTooLarge(_)))
    }

    /// The line that the client reads, without the leading `-`.
    pub fn line(&self) -> Cow<'_, str> {
        let text = match self {
            Self::Said(text) => return Cow::Borrowed(text),
            Self::Store(error) => match error {
                Error::KeyTooLarge(_) => {
                    format!("ERR key, member or field is longer than {NAME_BYTES_MAX} bytes")
                }
                Error::ValueTooLarge(_) => "ERR string exceeds maximum allowed size".to_owned(),
                Error::BatchTooLarge { .. } => {
                    "ERR the changes of this command, or transaction, are more than one batch of the database takes \
                     (mem_table_bytes): nothing was changed"
                        .to_owned()
                }
                Error::ReadOnly(cause) => format!("MISCONF the database takes no writes: {cause}"),
                Error::OutcomeUnknown(cause) => {
                    format!("MISCONF a sync failed, so what became of this write is unknown: {cause}")
                }
                Error::Closed => "ERR the server is shutting down".to_owned(),
                other => format!("ERR storage: {other}"),
            },
        };
        Cow::Owned(text.replace(['\r', '\n'], " "))
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// A stored value of the front is not what its format says.
impl From<Malformed> for Fail {
    fn from(malformed: Malformed) -> Self {
        Self::text(format!("ERR storage: a stored value of the Redis front is damaged: {malformed}"))
    }
}
