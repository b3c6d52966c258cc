//! Index: where the rows of a table are, by their hashes.
//!
//! It knows numbers alone, so that those of values and of tags share its code: what grows one is a good part of what a small module has.

use hashbrown::HashTable;

/// From hashes to the numbers of rows.
#[derive(Debug, Default)]
pub(crate) struct Index(HashTable<u32>);

impl Index {
    /// The row with this hash that is the one.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.0.find(hash, |row| is_it(*row)).copied()
    }

    /// Adds a row that is not in it. `hash_of` gives again what the rows in it were added under.
    #[inline(never)]
    pub(crate) fn add(&mut self, hash: u64, row: u32, hash_of: &dyn Fn(u32) -> u64) {
        self.0.insert_unique(hash, row, |row| hash_of(*row));
    }

    /// Takes a row out, where it is in it.
    pub(crate) fn take_out(&mut self, hash: u64, row: u32) {
        if let Ok(found) = self.0.find_entry(hash, |other| *other == row) {
            found.remove();
        }
    }

    /// Takes all rows out.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// How many rows are in it.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
