//! Sorted: a map of some thousands of keys at most, in their order.
//!
//! To find one costs O(log n). To put one in or take one out moves the pointers behind it along: a microsecond for a thousand. The
//! standard library's tree is better at many more, and is several kilobytes of every WebAssembly module that has one.
//!
//! Must not know what it holds. Invariant: keys rise along the list.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::borrow::Borrow;

#[derive(Debug)]
pub(crate) struct Sorted<K, V>(Vec<Box<(K, V)>>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, V> Sorted<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|place| &self.0[place].1)
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|place| &mut self.0[place].1)
    }

    /// Puts a key in that is not there; what is there stays.
    pub(crate) fn insert(&mut self, key: K, value: V)
    where
        K: Ord,
    {
        if let Err(place) = self.place(&key) {
            self.0.insert(place, Box::new((key, value)));
        }
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().map(|place| self.0.remove(place).1)
    }

    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&K, &V) -> bool) {
        self.0.retain(|row| stays(&row.0, &row.1));
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|row| &row.0)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|row| &row.1)
    }

    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|row| row.0.borrow().cmp(key))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_holds_what_a_tree_holds(steps in proptest::collection::vec((0..4_u8, 0..20_u8, any::<u32>()), 0..100)) {
            let (mut sorted, mut tree) = (Sorted::default(), BTreeMap::new());
            for (what, key, value) in steps {
                match what {
                    0 => {
                        sorted.insert(key, value);
                        tree.entry(key).or_insert(value);
                    }
                    1 => prop_assert_eq!(sorted.remove(&key), tree.remove(&key)),
                    2 => {
                        sorted.retain(|key, _| key % 3 != 0);
                        tree.retain(|key, _| key % 3 != 0);
                    }
                    _ => {
                        if let Some(kept) = sorted.get_mut(&key) {
                            *kept = value;
                        }
                        tree.entry(key).and_modify(|kept| *kept = value);
                    }
                }
                prop_assert_eq!(sorted.get(&key), tree.get(&key));
                prop_assert!(sorted.keys().eq(tree.keys()) && sorted.values().eq(tree.values()));
                prop_assert_eq!((sorted.len(), sorted.is_empty()), (tree.len(), tree.is_empty()));
            }
        }
    }
}
