//! What can go wrong with an index, and the way out.

use std::path::PathBuf;

use shoal_proto::id::ShareId;
use shoal_proto::publication::PublicationError;
use shoal_proto::roster::EntriesError;
use shoal_proto::segment::ListError;

/// Why an index cannot be opened, or a job was not done. A job that was not done has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database refused; the disk is full, or another program holds the file.
    #[error("the index: cannot {deed}: {source}")]
    Database {
        /// What was being done.
        deed: &'static str,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file, or what stands in it, is not what was written.
    #[error(
        "the index is damaged ({0}); put it aside, and look at the folder anew: nothing of the user's is in it alone"
    )]
    Damaged(String),
    /// A program newer than this one wrote it.
    #[error("the index has schema {found}, and this program knows up to {known}: use a newer Shoal")]
    Newer {
        /// The schema of the file.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// A database of another program.
    #[error("the file is no index of Shoal; put it aside")]
    NotOurs,
    /// The index of another share.
    #[error("the index belongs to share {found}, not to {wanted}", found = .found.short(), wanted = .wanted.short())]
    OtherShare {
        /// Whose it is.
        found: ShareId,
        /// Whose it should be.
        wanted: ShareId,
    },
    /// The index of another device.
    #[error("the index belongs to another device; put it aside")]
    OtherDevice,
    /// There is one already.
    #[error("there is an index already")]
    Exists,
    /// Nothing may be published now.
    #[error("this device may not publish in the share now")]
    MayNotPublish,
    /// The writer has used up all numbers.
    #[error("a writer that has no numbers left; draw a new one")]
    Numbers,
    /// A publication could not be signed.
    #[error(transparent)]
    Publication(#[from] PublicationError),
    /// The roster has no room, or the entry is of another share.
    #[error(transparent)]
    Entries(#[from] EntriesError),
    /// Not the list that the content names.
    #[error(transparent)]
    List(#[from] ListError),
    /// No page of a list before its index.
    #[error("a page of a list of segments of which the index holds nothing")]
    NoList,
    /// A file could not be renamed.
    #[error("cannot put {} aside: {source}", .path.display())]
    PutAside {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl IndexError {
    /// Says what the database refused.
    pub(crate) fn database(deed: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                Self::Damaged(format!("it cannot {deed}: {source}"))
            }
            _ => match source {
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..) => Self::Damaged(source.to_string()),
                source => Self::Database { deed, source },
            },
        }
    }

    /// Whether the file can be of no use any more, whoever opens it: it is to be put aside, and the index made anew.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::NotOurs)
    }

    pub(crate) fn damaged(what: impl core::fmt::Display) -> Self {
        Self::Damaged(what.to_string())
    }
}
