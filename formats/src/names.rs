//! Names of the files that the engine makes, built without allocating.
//!
//! Who may call it: the engine and tools. Sorting names of one kind as text sorts their numbers up to the width.
//!
//! ```text
//! table   := number in at least 6 digits, ".sst"          in `tables`
//! ```
//! Names of log segments are in [`crate::walfs`].

use core::fmt::Write;

use crate::TableId;

/// A file name. The longest number, of 20 digits, and any extension of ours fit.
pub type FileName = heapless::String<28>;

/// File name of a table.
pub fn table(id: TableId) -> FileName {
    let mut name = FileName::new();
    // It fits: 20 digits and 4 bytes.
    let _ = write!(name, "{:06}.sst", id.0);
    name
}

/// The number in a table's file name; `None` for any other name.
pub fn parse_table(name: &str) -> Option<TableId> {
    let id = TableId(name.strip_suffix(".sst")?.parse().ok()?);
    (table(id) == name).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names() {
        assert_eq!(table(TableId(7)), "000007.sst");
        assert_eq!(table(TableId(u64::MAX)), "18446744073709551615.sst");
        for id in [0, 7, 999_999, 1_000_000, u64::MAX] {
            assert_eq!(parse_table(&table(TableId(id))), Some(TableId(id)));
        }
        for other in ["7.sst", "+00007.sst", "0000007.sst", "000007.tmp", ".sst", "18446744073709551616.sst"]
        {
            assert_eq!(parse_table(other), None, "{other}");
        }
    }
}
