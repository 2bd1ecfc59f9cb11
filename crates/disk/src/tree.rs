//! A folder as a share has it: a tree.
//!
//! Promise: every path is walked to by handles from the root ([`Barred`](crate::Barred) says where that ends), and
//! nothing below the folder is named in any other way.

use std::io;
use std::sync::Arc;

use shoal_proto::path::RelPath;

use crate::folder::Shared;
use crate::fs::{Fs, FsDir};
use crate::os::Os;
use crate::path::TreePath;
use crate::stat::Look;
use crate::walk::{WalkError, Walker};

/// Why a path cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is no way to it.
    #[error(transparent)]
    Barred(#[from] WalkError),
    /// The system cannot say.
    #[error("cannot look at {path}")]
    Io {
        /// The path asked for.
        path: TreePath,
        /// What the system said.
        source: io::Error,
    },
}

/// The tree below one folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tree<F: Fs = Os> {
    pub(crate) folder: Arc<Shared<F>>,
}

impl<F: Fs> Tree<F> {
    pub(crate) fn new(folder: Arc<Shared<F>>) -> Self {
        Self { folder }
    }

    /// Looks at one path; `None` if the folder that it would be in has no such name. To look at many, [`Tree::sweep`].
    ///
    /// # Errors
    /// When there is no way to the folder that it is in, or the system cannot say.
    pub fn look(&self, path: &RelPath) -> Result<Option<Look>, LookError> {
        let path = TreePath::from(path);
        let (dir, name) = Walker::new(&self.folder).open_parent(&path)?;
        dir.look(name).map_err(|source| LookError::Io { path: path.clone(), source })
    }
}
