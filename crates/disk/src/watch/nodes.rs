//! The directories that a watcher knows, as a tree.
//!
//! Promise: a watch belongs to one directory, and a directory that is moved takes its watches and all below it along at
//! the cost of one step, because only names are kept and paths are put together when they are needed.

use std::collections::{BTreeMap, HashMap};

use super::source::WatchId;

/// One directory that is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub(super) struct NodeId(u32);

/// The root, which is always there.
pub(super) const ROOT: NodeId = NodeId(0);

/// What a directory showed when it was polled.
pub(super) type Print = [u8; 16];

/// How it is known what happens in a directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// The system tells us.
    Watched(WatchId),
    /// It does not: we look from time to time. This is what was seen last; `None`: it has not been looked at yet.
    Polled(Option<Print>),
}

/// The tree of directories.
#[derive(Debug)]
pub(super) struct Nodes {
    /// By number; `None` may be used again.
    slots: Vec<Option<Node>>,
    free: Vec<u32>,
    by_watch: HashMap<WatchId, NodeId>,
}

#[derive(Debug)]
struct Node {
    /// The one above; `None` for the root, and for what was taken out of the tree.
    parent: Option<NodeId>,
    name: Box<[u8]>,
    children: BTreeMap<Box<[u8]>, NodeId>,
    standing: Standing,
}

impl Default for Nodes {
    fn default() -> Self {
        let mut nodes = Self { slots: Vec::new(), free: Vec::new(), by_watch: HashMap::new() };
        nodes.add(None, Box::default());
        nodes
    }
}

impl Nodes {
    pub(super) fn watched(&self) -> usize {
        self.by_watch.len()
    }

    /// How many are known, and not watched.
    pub(super) fn polled(&self) -> usize {
        self.slots.len() - self.free.len() - self.by_watch.len()
    }

    /// The directory that has this watch.
    pub(super) fn of(&self, watch: WatchId) -> Option<NodeId> {
        self.by_watch.get(&watch).copied()
    }

    pub(super) fn child(&self, folder: NodeId, name: &[u8]) -> Option<NodeId> {
        self.get(folder)?.children.get(name).copied()
    }

    pub(super) fn children(&self, folder: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        self.get(folder).into_iter().flat_map(|node| node.children.iter().map(|(name, id)| (&**name, *id)))
    }

    /// How it is known what happens there; `None`: it is not in the tree any more.
    pub(super) fn standing(&self, id: NodeId) -> Option<Standing> {
        self.get(id).map(|node| node.standing)
    }

    /// The bytes of its path from the root, which is empty for the root; `None` for what is not in the tree.
    pub(super) fn path(&self, id: NodeId) -> Option<Vec<u8>> {
        let (mut names, mut at) = (Vec::new(), id);
        while at != ROOT {
            let node = self.get(at)?;
            names.push(&*node.name);
            at = node.parent?;
        }
        names.reverse();
        Some(names.join(&b'/'))
    }

    /// The child of this name, made if there is none.
    pub(super) fn insert(&mut self, folder: NodeId, name: &[u8]) -> NodeId {
        if let Some(id) = self.child(folder, name) {
            return id;
        }
        let id = self.add(Some(folder), name.into());
        if let Some(node) = self.get_mut(folder) {
            node.children.insert(name.into(), id);
        }
        id
    }

    /// Says that a directory has this watch. If another one had it, that one is not where it was: it has none any more.
    pub(super) fn set_watch(&mut self, id: NodeId, watch: WatchId) {
        self.let_go(id);
        if let Some(node) = self.get_mut(id) {
            node.standing = Standing::Watched(watch);
            if let Some(former) = self.by_watch.insert(watch, id)
                && former != id
                && let Some(former) = self.get_mut(former)
            {
                former.standing = Standing::Polled(None);
            }
        }
    }

    /// Says that a directory is polled, and what it showed.
    pub(super) fn set_polled(&mut self, id: NodeId, print: Option<Print>) {
        self.let_go(id);
        if let Some(node) = self.get_mut(id) {
            node.standing = Standing::Polled(print);
        }
    }

    /// Forgets all watches: their source has ended.
    pub(super) fn forget_watches(&mut self) {
        self.by_watch.clear();
        for node in self.slots.iter_mut().flatten() {
            if let Standing::Watched(_) = node.standing {
                node.standing = Standing::Polled(None);
            }
        }
    }

    /// Takes a directory out of the tree, with all below it, to be put in again elsewhere or dropped.
    pub(super) fn take_out(&mut self, folder: NodeId, name: &[u8]) -> Option<NodeId> {
        let id = self.get_mut(folder)?.children.remove(name)?;
        if let Some(node) = self.get_mut(id) {
            node.parent = None;
        }
        Some(id)
    }

    /// Puts in what was taken out, where nothing is.
    pub(super) fn put_in(&mut self, id: NodeId, folder: NodeId, name: &[u8]) {
        if let Some(node) = self.get_mut(id) {
            (node.parent, node.name) = (Some(folder), name.into());
        }
        if let Some(node) = self.get_mut(folder) {
            node.children.insert(name.into(), id);
        }
    }

    /// Forgets what was taken out, with all below it, and returns the watches that it had.
    pub(super) fn forget(&mut self, id: NodeId) -> Vec<WatchId> {
        let (mut watches, mut waiting) = (Vec::new(), vec![id]);
        while let Some(id) = waiting.pop() {
            let Some(node) = self.slots.get_mut(id.0 as usize).and_then(Option::take) else { continue };
            self.free.push(id.0);
            waiting.extend(node.children.into_values());
            if let Standing::Watched(watch) = node.standing {
                self.by_watch.remove(&watch);
                watches.push(watch);
            }
        }
        watches
    }

    /// All that are polled, with their paths, in the order of these.
    pub(super) fn all_polled(&self) -> Vec<(Vec<u8>, NodeId)> {
        let nodes = self.slots.iter().zip(0_u32..);
        let polled = nodes.filter_map(|(node, id)| match node.as_ref()?.standing {
            Standing::Polled(_) => Some((self.path(NodeId(id))?, NodeId(id))),
            Standing::Watched(_) => None,
        });
        let mut polled: Vec<_> = polled.collect();
        polled.sort();
        polled
    }

    fn let_go(&mut self, id: NodeId) {
        if let Some(Standing::Watched(watch)) = self.standing(id) {
            self.by_watch.remove(&watch);
        }
    }

    fn add(&mut self, parent: Option<NodeId>, name: Box<[u8]>) -> NodeId {
        let node = Node { parent, name, children: BTreeMap::new(), standing: Standing::Polled(None) };
        match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = Some(node);
                NodeId(at)
            }
            None => {
                // More directories than that no disk has.
                let at = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
                self.slots.push(Some(node));
                NodeId(at)
            }
        }
    }

    fn get(&self, id: NodeId) -> Option<&Node> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_directory_takes_all_below_it_along() {
        let mut nodes = Nodes::default();
        let a = nodes.insert(ROOT, b"a");
        let b = nodes.insert(a, b"b");
        let deep = nodes.insert(b, b"c");
        let other = nodes.insert(ROOT, b"other");
        nodes.set_watch(deep, WatchId(7));
        assert_eq!(nodes.path(deep).unwrap(), b"a/b/c");
        assert_eq!(nodes.take_out(ROOT, b"a"), Some(a));
        assert_eq!((nodes.path(deep), nodes.child(ROOT, b"a")), (None, None));
        nodes.put_in(a, other, b"new");
        assert_eq!(nodes.path(nodes.of(WatchId(7)).unwrap()).unwrap(), b"other/new/b/c");
        assert_eq!((nodes.watched(), nodes.polled()), (1, 4));

        assert_eq!(nodes.take_out(other, b"new"), Some(a));
        assert_eq!(nodes.forget(a), [WatchId(7)]);
        assert_eq!((nodes.of(WatchId(7)), nodes.watched(), nodes.polled()), (None, 0, 2));
        let x = nodes.insert(other, b"x");
        assert_eq!(nodes.path(x).unwrap(), b"other/x");
    }

    #[test]
    fn a_watch_belongs_to_one_directory() {
        let mut nodes = Nodes::default();
        let (a, b) = (nodes.insert(ROOT, b"a"), nodes.insert(ROOT, b"b"));
        nodes.set_watch(a, WatchId(1));
        nodes.set_watch(b, WatchId(1));
        assert_eq!((nodes.of(WatchId(1)), nodes.standing(a)), (Some(b), Some(Standing::Polled(None))));
        nodes.set_watch(b, WatchId(2));
        assert_eq!((nodes.of(WatchId(1)), nodes.of(WatchId(2))), (None, Some(b)));
        nodes.set_watch(ROOT, WatchId(3));
        assert_eq!(nodes.all_polled(), [(b"a".to_vec(), a)]);
        nodes.forget_watches();
        assert_eq!((nodes.watched(), nodes.polled(), nodes.of(WatchId(2))), (0, 3, None));
    }
}
