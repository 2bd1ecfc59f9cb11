//! What the first meeting of a share has found, and what a person decides about it.

use std::sync::Arc;

use shoal_engine::status as engine;
use shoal_proto::id::ShareId;

use super::super::Core;
use crate::control::report::Question;
use crate::control::types::{Choice, Code, Failure, Response};

impl Core {
    /// What a person is asked of a share.
    pub(super) fn question(&self, _share: ShareId, status: &engine::Status) -> Option<Question> {
        match &status.phase {
            engine::Phase::Halted(halt) => Question::of(halt),
            _ => None,
        }
    }

    pub(super) fn meets(&self, _share: ShareId) {}

    pub(super) async fn decide(self: &Arc<Self>, share: ShareId, _: Choice) -> Result<Response, Failure> {
        self.registered(&share)?;
        Err(Failure::new(Code::NotNow, "this share asks nothing"))
    }
}
