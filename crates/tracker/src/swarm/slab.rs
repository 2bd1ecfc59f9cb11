//! Places for many small things, each named by a number.
//!
//! Promise: memory grows by a page and not by doubling, so a million things cost what they are and no more; a number
//! means one thing until that is taken out, and may mean another after.

/// Which place.
pub(super) type Key = u32;

/// No place.
pub(super) const NONE: Key = Key::MAX;

/// Things in one page.
const PAGE: usize = 1024;

/// The places.
#[derive(Debug)]
pub(super) struct Slab<T> {
    pages: Vec<Vec<Option<T>>>,
    free: Vec<Key>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    /// How many things there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Puts a thing somewhere. Whoever calls bounds how many there are, far below [`NONE`].
    pub(super) fn insert(&mut self, thing: T) -> Key {
        self.len += 1;
        if let Some(key) = self.free.pop() {
            let (page, place) = split(key);
            self.pages[page][place] = Some(thing);
            return key;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let page = self.pages.len() - 1;
        self.pages[page].push(Some(thing));
        Key::try_from(page * PAGE + self.pages[page].len() - 1).unwrap_or(NONE)
    }

    /// Takes a thing out.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let (page, place) = split(key);
        let taken = self.pages.get_mut(page)?.get_mut(place)?.take()?;
        self.free.push(key);
        self.len -= 1;
        Some(taken)
    }

    /// The thing there, if there is one.
    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let (page, place) = split(key);
        self.pages.get(page)?.get(place)?.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (page, place) = split(key);
        self.pages.get_mut(page)?.get_mut(place)?.as_mut()
    }
}

/// Page, and place in it.
const fn split(key: Key) -> (usize, usize) {
    (key as usize / PAGE, key as usize % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_pages_follow_each_other() {
        let mut slab = Slab::default();
        let keys: Vec<Key> = (0..3 * PAGE).map(|number| slab.insert(number)).collect();
        assert!(keys.iter().enumerate().all(|(number, key)| slab.get(*key) == Some(&number)));
        assert_eq!(slab.remove(keys[PAGE]), Some(PAGE));
        assert_eq!((slab.remove(keys[PAGE]), slab.get(keys[PAGE])), (None, None));
        assert_eq!(slab.insert(7), keys[PAGE]);
        assert_eq!((slab.len(), slab.pages.len(), slab.get(NONE)), (3 * PAGE, 3, None));
    }
}
