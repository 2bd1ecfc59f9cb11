//! What the other end of a conversation can do wrong.

use crate::limits::RECONCILE_PAGES_IN_FLIGHT_MAX;

/// Why the other end's message makes no sense here. The conversation is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReconcileError {
    /// Not what comes next.
    #[error("'{got}' was sent while {during}")]
    Unexpected {
        /// The sort of message.
        got: &'static str,
        /// Where the conversation was.
        during: &'static str,
    },
    /// Rounds are counted one by one.
    #[error("round {got} was begun; the next one is {expected}")]
    Round {
        /// As sent.
        got: u32,
        /// As it had to be.
        expected: u32,
    },
    /// One mask for each node whose children were told.
    #[error("{got} masks for {expected} nodes")]
    Masks {
        /// As sent.
        got: usize,
        /// As it had to be.
        expected: usize,
    },
    /// Sixteen digests for each child that differs.
    #[error("{got} digests where {expected} were due")]
    Digests {
        /// As sent.
        got: usize,
        /// As it had to be.
        expected: usize,
    },
    /// A leaf that is below none of the nodes that differ.
    #[error("leaf {0} was listed, which is none of those that differ")]
    UnaskedLeaf(u16),
    /// Pages go through the leaves in order.
    #[error("leaf {0} was listed after a later one")]
    LeavesGoBack(u16),
    /// Pages go through the fingerprints of a leaf in order.
    #[error("fingerprints of leaf {0} were listed out of order")]
    FingerprintsGoBack(u16),
    /// More than [`RECONCILE_LISTED_MAX`](crate::limits::RECONCILE_LISTED_MAX) in one round.
    #[error("more fingerprints were listed than a share can have records")]
    TooManyListed,
    /// More than [`RECONCILE_PAGES_IN_FLIGHT_MAX`] without waiting for answers.
    #[error("more than {RECONCILE_PAGES_IN_FLIGHT_MAX} pages were sent without waiting for answers")]
    TooManyPages,
    /// Every page is answered once.
    #[error("a page was answered that was not sent")]
    NothingToAnswer,
    /// One bit for each fingerprint of the page.
    #[error("{got} bytes answer a page that takes {expected}")]
    Answer {
        /// As sent.
        got: usize,
        /// As it had to be.
        expected: usize,
    },
    /// Bits that belong to no fingerprint are not set.
    #[error("an answer wants more than the {0} records of its page")]
    AnswerBeyondPage(usize),
    /// Our proof was accepted, and then another one was given.
    #[error("the proof of holding the same records is false")]
    FalseProof,
    /// An error came before.
    #[error("this conversation ended with an error")]
    Broken,
}
