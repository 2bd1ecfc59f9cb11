//! What others ask for, out of the folder, the history and the staged files.
//!
//! Promise: only what the index says that a head names is read and sent, by what it is and never by where it stands
//! (I11). Each connection is answered in the order of its asking; what it asked for, what is read for it and what is on
//! its way to it is bounded (I30), and one that takes nothing costs the others nothing.
//!
//! Whoever owns the connections calls this for members only. How a request is answered: `crate::fetch`. Contents that
//! cannot be served are passed over, and one `Unserved` at the end says why: `Busy`, if one of them may be had later.
//! Begin at [`Serve::asked`] and [`Serve::poll`].

mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use shoal_proto::frame::RequestId;
use shoal_proto::message::Message;

use self::line::{Line, Reading};
use crate::disk::{self, BytesAt};
use crate::fetch::Tag;
use crate::index;
use crate::transfer::SourceId;

/// What is to be done.
#[derive(Debug)]
pub enum Do {
    /// Perform this job of the index; tell the answer with [`Serve::indexed`].
    Index(Tag, index::Job),
    /// Perform this job of the disk; tell the answer with [`Serve::disk_done`].
    Disk(Tag, disk::Job),
    /// Send this to who asked, as a part of the answer to this request.
    Send(SourceId, RequestId, Message),
}

/// Whether a message is one of those that [`Serve::asked`] takes up.
pub(crate) fn asks_for_bytes(message: &Message) -> bool {
    matches!(
        message,
        Message::WantContents { .. }
            | Message::WantList { .. }
            | Message::WantSegment { .. }
            | Message::WantChunks { .. }
    )
}

/// Why somebody who asks is hung up on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Misuse {
    /// Requests that are open have different numbers, and none is 0.
    #[error("the other device asked with the number of another request")]
    RequestInUse,
    /// It goes on asking though nothing more is taken.
    #[error("the other device asks for more than is allowed at once")]
    TooMuch,
    /// A message that asks for nothing.
    #[error("the other device said something that asks for nothing")]
    NoRequest,
}

/// What one share serves.
#[derive(Debug, Default)]
pub struct Serve {
    lines: BTreeMap<SourceId, Line>,
    tags: u64,
    jobs: BTreeMap<Tag, (SourceId, Job)>,
    /// Who was served last: the next one comes first.
    last: Option<SourceId>,
}

#[derive(Debug)]
enum Job {
    Look,
    Read(Vec<Reading>),
    Chunks(Reading),
}

impl Serve {
    /// Nobody asks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A member is connected.
    pub fn connected(&mut self, source: SourceId) {
        self.lines.insert(source, Line::default());
    }

    /// A member is gone, or is none any more: nothing more is read for it.
    pub fn disconnected(&mut self, source: SourceId) {
        self.lines.remove(&source);
        self.jobs.retain(|_, (other, _)| *other != source);
    }

    /// What was sent to a member is mostly on its way.
    pub fn drained(&mut self, source: SourceId) {
        if let Some(line) = self.lines.get_mut(&source) {
            line.drained();
        }
    }

    /// A member asks for something, or cancels it. What is beyond the bounds is refused as busy.
    ///
    /// # Errors
    /// When it is no request, or one that honest members never make: hang up.
    pub fn asked(&mut self, source: SourceId, request: RequestId, message: Message) -> Result<(), Misuse> {
        match self.lines.get_mut(&source) {
            Some(line) => line.asked(request, message),
            None => Ok(()),
        }
    }

    /// The index has answered. `staged` says where something is that the index knows, and that is not in the folder yet
    /// ([`crate::fetch::Fetch::staged`]).
    pub fn indexed(
        &mut self,
        tag: Tag,
        answer: index::Answer,
        staged: impl Fn(&index::Asked) -> Option<(BytesAt, u64)>,
    ) {
        let Some((source, Job::Look)) = self.jobs.remove(&tag) else { return };
        let Some(line) = self.lines.get_mut(&source) else { return };
        match answer {
            index::Answer::Serve(servings) => line.found(servings, staged),
            _ => line.found(Vec::new(), staged),
        }
    }

    /// The disk has answered.
    pub fn disk_done(&mut self, tag: Tag, answer: disk::Answer) {
        let Some((source, job)) = self.jobs.remove(&tag) else { return };
        let Some(line) = self.lines.get_mut(&source) else { return };
        match (job, answer) {
            (Job::Read(readings), disk::Answer::Read(bytes)) => line.read(readings, bytes),
            (Job::Read(readings), _) => line.read(readings, Vec::new()),
            (Job::Chunks(reading), disk::Answer::Chunks(list)) => line.chunked(&reading, list.as_ref()),
            (Job::Chunks(reading), _) => line.chunked(&reading, None),
            (Job::Look, _) => {}
        }
    }

    /// What to do next, as long as there is something.
    pub fn poll(&mut self) -> Option<Do> {
        let after = self.last.map_or(0, |last| last.0.saturating_add(1));
        let turns: Vec<SourceId> = self
            .lines
            .range(SourceId(after)..)
            .chain(self.lines.range(..SourceId(after)))
            .map(|(source, _)| *source)
            .collect();
        for source in turns {
            if let Some(next) = self.poll_line(source) {
                self.last = Some(source);
                return Some(next);
            }
        }
        None
    }

    fn poll_line(&mut self, source: SourceId) -> Option<Do> {
        let line = self.lines.get_mut(&source)?;
        if let Some((request, message)) = line.next_message() {
            return Some(Do::Send(source, request, message));
        }
        if let Some(asked) = line.next_look() {
            return Some(Do::Index(self.tag(source, Job::Look), index::Job::Serve(asked)));
        }
        let (job, readings) = line.next_read()?;
        let about = match (&job, readings) {
            (disk::Job::Chunks { .. }, mut readings) => Job::Chunks(readings.pop()?),
            (_, readings) => Job::Read(readings),
        };
        Some(Do::Disk(self.tag(source, about), job))
    }

    fn tag(&mut self, source: SourceId, job: Job) -> Tag {
        let tag = Tag(self.tags);
        self.tags += 1;
        self.jobs.insert(tag, (source, job));
        tag
    }
}
