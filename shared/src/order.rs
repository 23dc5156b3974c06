//! Order with little code, for what the page has to load.
//!
//! The standard library's `sort` and `sort_unstable`, `BTreeMap` and `BTreeSet` are compiled anew for each type, into 5 to 10 kB each:
//! a tenth of the page was that. What is here takes a tenth of it. It pays with time where there is much to sort that is in
//! order already, and where thousands of entries come and go: not so for links, peers, and pieces under way.

use std::collections::BinaryHeap;
use std::fmt;

/// The items in ascending order; which of several equal ones comes first is not said. In place, n log n comparisons at most.
pub fn sorted<T: Ord>(items: Vec<T>) -> Vec<T> {
    BinaryHeap::from(items).into_sorted_vec()
}

/// A map in the order of its keys: a list in which keys are looked for by halves. As `BTreeMap`, but that a key that comes
/// or goes moves those above it.
#[derive(Clone, PartialEq, Eq)]
pub struct SortedMap<K, V> {
    /// Ascending by key, each key once.
    entries: Vec<(K, V)>,
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K, V> SortedMap<K, V> {
    /// With nothing in it.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Keys with their values, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// Keys, ascending.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.entries.iter().map(|(key, _)| key)
    }

    /// Values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.entries.iter().map(|(_, value)| value)
    }

    /// Keys with their values, ascending.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// Values in the order of their keys.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// The least key, with its value.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// Takes out the greatest key.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        self.entries.pop()
    }

    /// Keeps what `keep` says, which is asked in order.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// Where the key is, or would be.
    fn place(&self, key: &K) -> Result<usize, usize> {
        self.entries.binary_search_by(|(other, _)| other.cmp(key))
    }

    /// Whether there is this key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_ok()
    }

    /// The key's value.
    pub fn get(&self, key: &K) -> Option<&V> {
        let place = self.place(key).ok()?;
        Some(&self.entries[place].1)
    }

    /// The key's value.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(key).ok()?;
        Some(&mut self.entries[place].1)
    }

    /// The key's value; where there is none yet, what `make` gives.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let place = match self.place(&key) {
            Ok(place) => place,
            Err(place) => {
                self.entries.insert(place, (key, make()));
                place
            }
        };
        &mut self.entries[place].1
    }

    /// Gives the key this value, and back the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(place) => Some(std::mem::replace(&mut self.entries[place].1, value)),
            Err(place) => {
                self.entries.insert(place, (key, value));
                None
            }
        }
    }

    /// Takes out the key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key).ok()?;
        Some(self.entries.remove(place).1)
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    /// Of several with one key, the last.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<K, V> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

/// A set in ascending order; see [`SortedMap`].
#[derive(Clone, PartialEq, Eq)]
pub struct SortedSet<T> {
    items: SortedMap<T, ()>,
}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for SortedSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T> SortedSet<T> {
    /// With nothing in it.
    pub const fn new() -> Self {
        Self { items: SortedMap::new() }
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// Items, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.items.keys()
    }

    /// Keeps what `keep` says, which is asked in order.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.items.retain(|item, ()| keep(item));
    }
}

impl<T: Ord> SortedSet<T> {
    /// Whether there is this item.
    pub fn contains(&self, item: &T) -> bool {
        self.items.contains_key(item)
    }

    /// Puts it in; whether it was not there.
    pub fn insert(&mut self, item: T) -> bool {
        self.items.insert(item, ()).is_none()
    }

    /// Takes it out; whether it was there.
    pub fn remove(&mut self, item: &T) -> bool {
        self.items.remove(item).is_some()
    }
}

impl<T: Ord> Extend<T> for SortedSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        for item in items {
            self.insert(item);
        }
    }
}

impl<T: Ord> FromIterator<T> for SortedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut entries: Vec<(T, ())> =
            sorted(items.into_iter().collect()).into_iter().map(|item| (item, ())).collect();
        entries.dedup();
        Self { items: SortedMap { entries } }
    }
}

impl<T> IntoIterator for SortedSet<T> {
    type Item = T;
    type IntoIter = std::iter::Map<std::vec::IntoIter<(T, ())>, fn((T, ())) -> T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter().map(|(item, ())| item)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_sorted_is_what_the_standard_library_makes_of_it(items: Vec<(u8, u16)>) {
            let mut expected = items.clone();
            expected.sort_unstable();
            prop_assert_eq!(sorted(items.clone()), expected);
            let set: SortedSet<_> = items.iter().copied().collect();
            prop_assert!(set.into_iter().eq(items.into_iter().collect::<BTreeSet<_>>()));
        }

        #[test]
        fn a_map_is_what_the_standard_librarys_is(steps: Vec<(u8, u8, u16)>) {
            let (mut map, mut expected) = (SortedMap::new(), BTreeMap::new());
            for (step, key, value) in steps {
                let key = key % 16;
                match step % 7 {
                    0..=2 => prop_assert_eq!(map.insert(key, value), expected.insert(key, value)),
                    3 => prop_assert_eq!(map.remove(&key), expected.remove(&key)),
                    4 => {
                        let found = *map.get_or_insert_with(key, || value);
                        prop_assert_eq!(found, *expected.entry(key).or_insert(value));
                    }
                    5 => prop_assert_eq!(map.pop_last(), expected.pop_last()),
                    _ => {
                        map.retain(|other, _| *other != key);
                        expected.retain(|other, _| *other != key);
                    }
                }
                prop_assert_eq!(map.get(&key), expected.get(&key));
                prop_assert_eq!(map.get_mut(&key), expected.get_mut(&key));
                prop_assert_eq!(map.contains_key(&key), expected.contains_key(&key));
                prop_assert_eq!(map.first_key_value(), expected.first_key_value());
                prop_assert_eq!((map.len(), map.is_empty()), (expected.len(), expected.is_empty()));
                prop_assert!(map.iter().eq(expected.iter()));
                prop_assert!(map.keys().eq(expected.keys()) && map.values().eq(expected.values()));
            }
            let again: SortedMap<_, _> = map.iter().rev().map(|(key, value)| (*key, *value)).collect();
            prop_assert!(again == map && map.into_iter().eq(expected));
        }

        #[test]
        fn a_set_is_what_the_standard_librarys_is(steps: Vec<(bool, u8)>) {
            let (mut set, mut expected) = (SortedSet::new(), BTreeSet::new());
            for (comes, item) in steps {
                let item = item % 16;
                if comes {
                    prop_assert_eq!(set.insert(item), expected.insert(item));
                } else {
                    prop_assert_eq!(set.remove(&item), expected.remove(&item));
                }
                prop_assert_eq!(set.contains(&item), expected.contains(&item));
                prop_assert!(set.iter().eq(expected.iter()) && set.len() == expected.len());
            }
        }
    }
}
