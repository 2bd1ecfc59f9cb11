//! What a person, or a program for one, asks of a node, and what is answered.

pub(super) mod news;

use crate::control::types::{Code, Failure, Request};
use crate::control::{Answering, Diary, Service};

use super::Node;

impl Service for Node {
    fn handle(&self, _: Request) -> Answering<'_> {
        Box::pin(async { Err(Failure::new(Code::NotNow, "not yet")) })
    }

    fn diary(&self) -> &Diary {
        &self.core.diary
    }
}
