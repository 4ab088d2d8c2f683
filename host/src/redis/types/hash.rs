//! Fields with values: one element for each field.

use nokv_core::read::point::Value;

use super::elements::check_name;
use crate::redis::fail::Answer;
use crate::redis::store::backend::Table;
use crate::redis::store::keyspace::{Collection, Keyspace};

/// The value of a field.
///
/// # Errors
/// What the store met; the field is too long.
pub fn get(keys: &mut Keyspace, of: &Collection<'_>, field: &[u8]) -> Answer<Option<Value>> {
    check_name(field)?;
    Ok(keys.txn().get(Table::Elements, &of.element(field))?.map(|stored| stored.value))
}

/// Sets a field; true if it is new.
///
/// # Errors
/// As [`get`].
pub fn set(keys: &mut Keyspace, of: &mut Collection<'_>, field: &[u8], value: Vec<u8>) -> Answer<bool> {
    check_name(field)?;
    let at = of.element(field);
    let is_new = keys.txn().get(Table::Elements, &at)?.is_none();
    of.head.count += u64::from(is_new);
    of.note_length(field.len().max(value.len()));
    keys.put_entry(Table::Elements, &at, value, !is_new);
    Ok(is_new)
}

/// Removes a field; false if it was not there.
///
/// # Errors
/// As [`get`].
pub fn remove(keys: &mut Keyspace, of: &mut Collection<'_>, field: &[u8]) -> Answer<bool> {
    check_name(field)?;
    let at = of.element(field);
    let is_there = keys.txn().get(Table::Elements, &at)?.is_some();
    if is_there {
        of.head.count = of.head.count.saturating_sub(1);
        keys.delete_entry(Table::Elements, &at);
    }
    Ok(is_there)
}
