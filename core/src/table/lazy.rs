//! A value that is made on first use, by a step that may fail.

use crate::error::Result;
use crate::sync::Mutex;

#[cfg(not(feature = "std"))]
type Cell<T> = spin::Once<T>;
#[cfg(feature = "std")]
type Cell<T> = std::sync::OnceLock<T>;

/// Empty until a [`Lazy::get_or_try`] succeeds; afterwards a read is one load.
pub(super) struct Lazy<T> {
    cell: Cell<T>,
    /// Held while the value is made, so that it is made once and nobody waits in a spin.
    making: Mutex<()>,
}

impl<T> Lazy<T> {
    pub(super) fn new() -> Self {
        Self { cell: Cell::new(), making: Mutex::new(()) }
    }

    #[inline]
    pub(super) fn get(&self) -> Option<&T> {
        self.cell.get()
    }

    #[inline]
    pub(super) fn get_or_try(&self, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        match self.cell.get() {
            Some(value) => Ok(value),
            None => self.make(make),
        }
    }

    #[cold]
    fn make(&self, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        let _making = self.making.lock();
        if let Some(value) = self.cell.get() {
            return Ok(value);
        }
        let value = make()?;
        #[cfg(feature = "std")]
        let value = self.cell.get_or_init(|| value);
        #[cfg(not(feature = "std"))]
        let value = self.cell.call_once(|| value);
        Ok(value)
    }
}
