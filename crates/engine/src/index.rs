//! What a share asks of its index, beside what its links ask ([`crate::store`]).
//!
//! Promise: each [`Job`] is performed whole or not at all, in the order in which jobs come, by [`perform`]; what reads and
//! changes the index in one go is one job. An observation or a placement names the *here* that it rests on: if the
//! index holds another one by now, nothing is noted and the answer says so. Durable when it is answered.

mod life;

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::batch::Batch;
use shoal_proto::digest::Sum;
use shoal_proto::hash::{ContentId, RecordHash, SegmentId, prefix};
use shoal_proto::here::{Here, Triple};
use shoal_proto::id::{DeviceId, WriterSalt};
use shoal_proto::message::Unserved;
use shoal_proto::path::RelPath;
use shoal_proto::publication::Place;
use shoal_proto::record::Record;
use shoal_proto::roster::Entry;
use shoal_proto::segment::{PageIndex, SegmentList};

pub use self::life::Life;
use crate::disk::BytesAt;
use crate::history::{self, Kept};
use crate::store::{self, Store};
use crate::time::Time;

/// What was found at a path, durable on the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Observed {
    /// Where.
    pub path: RelPath,
    /// The here that it was compared with: what the index held when the disk was looked at.
    pub compared: Option<Here>,
    /// What stands there; `None`: nothing.
    pub found: Option<Here>,
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The user sees what was seen before.
    Unchanged,
    /// A new record says it.
    Published,
    /// It is what a head shows; there was no base before. Its time and mode may still have to be set.
    Adopted,
    /// It is what a head deleted, and there was no base: it is to go to history.
    AdoptedDeletion,
    /// Noted and not published: this device may not, or no receiver would take the record.
    LocalDifference,
    /// Noted, and nothing is to be said of it: a new time or mode of bytes that a head replaces, or a folder that is
    /// only there for what lies below it.
    Silent,
    /// The index holds another here than it was compared with. Nothing is noted: to be looked at again.
    Changed,
}

/// What guards against the loss of most contents (I19).
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// The time: what was lost not long before is one loss with this.
    pub at: Time,
    /// A person has said that what is gone is meant to be gone.
    pub is_meant: bool,
    /// Files that are gone as well, and will be observed later.
    pub further: Further,
}

/// Files that are gone: how many there were of each content, by the first eight bytes of its id.
#[derive(Clone, Debug, Default)]
pub struct Further(BTreeMap<u64, u32>);

impl Further {
    /// One more.
    pub fn add(&mut self, content: &ContentId) {
        *self.0.entry(prefix(content.as_bytes())).or_default() += 1;
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of each content how many.
    pub fn iter(&self) -> impl Iterator<Item = (u64, i64)> {
        self.0.iter().map(|(content, files)| (*content, i64::from(*files)))
    }
}

/// What the disk will be asked for at a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Intent {
    /// To show this head.
    Head(Record),
    /// To have a folder there for what lies below it, which nobody publishes.
    ImpliedFolder,
    /// To have nothing there, or a conflict copy: what is found needs no explanation.
    Other,
}

/// The disk durably shows something else at a path: a head, or a folder for what lies below, or nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed {
    /// Where.
    pub path: RelPath,
    /// The here that the work was planned against.
    pub planned: Option<Here>,
    /// What the disk shows now, as it was looked at through the written handle.
    pub now: Option<Here>,
    /// The head that it shows; for nothing, and for a folder that only what lies below asks for, the head that is gone.
    /// `None`: no head asked for it. The whole record: it may be no head any more, and what has seen it then is what the
    /// disk is to show next, not a rival.
    pub head: Option<Record>,
    /// It was only moved here, and has the time and mode that it had.
    pub is_moved: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlacedOutcome {
    /// The disk agrees with the head.
    Agreed,
    /// The head is none any more, and none has its content or has seen it. What the disk shows is noted; base stays.
    OnlyHere,
    /// The index holds another here than was planned against. Nothing is noted: to be looked at again.
    Changed,
}

/// What a resolution was answered with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Resolved {
    /// The conflict is ended; to be pushed.
    Published(Vec<Batch>),
    /// There is none (any more), or other versions are in it than those whose bytes are here.
    NoConflict,
    /// No receiver would take the record: it has seen more writers than one may name.
    TooMuchSeen,
}

/// The list of a content's segments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum List {
    /// All of it.
    Whole(SegmentList),
    /// Its pages, and what names them.
    Paged(PageIndex, Vec<SegmentList>),
}

/// A list as far as it was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ListPart {
    /// All of it, or the page that was asked for.
    Segments(SegmentList),
    /// It has pages: these.
    Index(PageIndex),
}

/// What the index of a share counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Survey {
    /// Distinct contents of files on this disk.
    pub had: u64,
    /// Those of them that no file on this disk would have any more.
    pub lost: u64,
}

/// Something that a peer asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asked {
    /// A whole content of one segment.
    Content(ContentId),
    /// One segment of a content, by its place in the list.
    Segment(ContentId, u32),
    /// The list of a content, or the page of it.
    List(ContentId, Option<u32>),
}

/// What is to be served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Serving {
    /// These bytes are it.
    Bytes {
        /// Where they are; at least one place.
        places: Vec<BytesAt>,
        /// How many.
        length: u64,
    },
    /// This list is it, encoded.
    List(Vec<u8>),
    /// It is not served.
    Unserved(Unserved),
}

/// The index of one share, as the share asks for it.
pub trait Index: Store + history::Histories<<Self as Store>::Error> {
    /// What this device is and may do.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn life(&self) -> Result<Life, Self::Error>;

    /// What was last seen on this disk below a folder (`None`: of all), in path order: at most so many, those after
    /// `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn shown(
        &self,
        below: Option<&RelPath>,
        after: Option<&RelPath>,
        at_most: usize,
    ) -> Result<Vec<(RelPath, Here)>, Self::Error>;

    /// What is known of a path.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn triple(&self, path: &RelPath) -> Result<Option<Triple>, Self::Error>;

    /// Notes, until the next placement or the next of these, what the disk will be asked for; what is known of these
    /// paths. An observation that finds it takes it for that, also in a later process.
    ///
    /// # Errors
    /// When the database refuses; nothing is noted then.
    fn intend(&mut self, intents: Vec<(RelPath, Intent)>) -> Result<Vec<Option<Triple>>, Self::Error>;

    /// Forgets what was intended at these paths: the disk was not asked for it after all, or did nothing there, since its
    /// user had been faster.
    ///
    /// # Errors
    /// When the database refuses.
    fn forget_intents(&mut self, paths: &[RelPath]) -> Result<(), Self::Error>;

    /// The paths that ask for something, in path order: at most so many, those after `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn diverging(&self, after: Option<&RelPath>, at_most: usize) -> Result<Vec<Triple>, Self::Error>;

    /// What the share would lose of its contents if these observations were noted: moved ones do not count, what was
    /// observed to be lost of late does.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn loss(&mut self, observed: &[Observed], guard: &Guard) -> Result<Survey, Self::Error>;

    /// What this disk would lose of its contents by all removals that others ask for, and of how many paths: moved ones do
    /// not count, what was lost so of late does. `is_meant`: a person has said that; nothing of it will count later.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn survey(&mut self, now: Time, is_meant: bool) -> Result<(Survey, u64), Self::Error>;

    /// Takes in what was found, and the lists of what is large. Adds up what is lost by it, unless that is meant.
    ///
    /// # Errors
    /// When the database refuses; nothing is noted then.
    fn observe(
        &mut self,
        observed: Vec<Observed>,
        lists: Vec<(ContentId, List)>,
        guard: &Guard,
    ) -> Result<(Vec<Outcome>, Vec<Batch>), Self::Error>;

    /// Notes what shows a head already, though nothing was done to it.
    ///
    /// # Errors
    /// When the database refuses; nothing is noted then.
    fn agreed(&mut self, agreed: Vec<Placed>) -> Result<Vec<PlacedOutcome>, Self::Error>;

    /// Notes what was brought onto the disk as intended, and what it displaced. Adds up what is lost by it.
    ///
    /// # Errors
    /// When the database refuses; nothing is noted then.
    fn placed(
        &mut self,
        placed: Vec<Placed>,
        history: Vec<Kept>,
        now: Time,
    ) -> Result<Vec<PlacedOutcome>, Self::Error>;

    /// Ends the conflict at a path, if these are the versions in it: the bytes of all of them are here, durably. Those
    /// copies that stand on the disk already are noted as agreed with.
    ///
    /// # Errors
    /// When this device may not publish, or the database refuses.
    fn resolve(
        &mut self,
        path: &RelPath,
        versions: &[RecordHash],
        copies: Vec<(RelPath, Here)>,
    ) -> Result<Resolved, Self::Error>;

    /// Where the bytes of a content are on this disk.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn places(&self, content: &ContentId) -> Result<Vec<BytesAt>, Self::Error>;

    /// Where the bytes of a segment are on this disk.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn places_of_segment(&self, segment: &SegmentId) -> Result<Vec<BytesAt>, Self::Error>;

    /// The list of a content, or a page of it, if it is held. Content of one segment has none.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn list(&self, content: &ContentId, page: Option<u32>) -> Result<Option<ListPart>, Self::Error>;

    /// Keeps a list, an index of pages, or a page of one whose index is kept.
    ///
    /// # Errors
    /// When it is not what the content names, or the database refuses.
    fn put_list(&mut self, content: ContentId, page: Option<u32>, part: ListPart) -> Result<(), Self::Error>;

    /// What to answer a peer that asks for content: only what a head names.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn serve(&self, asked: &Asked) -> Result<Serving, Self::Error>;

    /// The records whose bytes are nowhere on this disk, at most so many; and the root of all records.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn lacking(&self, at_most: usize) -> Result<(BTreeSet<RecordHash>, Sum), Self::Error>;

    /// Notes that the first reconcile is done, or need not be.
    ///
    /// # Errors
    /// When the database refuses.
    fn set_first_contact(&mut self) -> Result<(), Self::Error>;

    /// Notes whether a guard has stopped the share.
    ///
    /// # Errors
    /// When the database refuses.
    fn set_halted(&mut self, is_halted: bool) -> Result<(), Self::Error>;

    /// Draws a new writer; what was published because of it. What the old one has published up to `agreed` is what others
    /// know of it too.
    ///
    /// # Errors
    /// When the database refuses; the old one stays then.
    fn new_writer(&mut self, salt: WriterSalt, agreed: Option<Place>) -> Result<Vec<Batch>, Self::Error>;

    /// Who said what these paths are to show.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn authors(&self, rows: &[Option<Triple>]) -> Result<Vec<Option<DeviceId>>, Self::Error>;

    /// Lets go of lists that nothing names.
    ///
    /// # Errors
    /// When the database refuses.
    fn forget_unnamed_lists(&mut self) -> Result<(), Self::Error>;
}

/// What is to be done with the index for a share.
#[derive(Debug)]
pub enum Job {
    /// For one of its links.
    Link(store::Job),
    /// Say what this device is and may do.
    Life,
    /// What was last seen on this disk, in path order.
    Shown {
        /// Only below this folder.
        below: Option<RelPath>,
        /// Only after this path.
        after: Option<RelPath>,
        /// At most so many.
        at_most: usize,
    },
    /// What is known of these paths.
    Triples(Vec<RelPath>),
    /// Note what the disk will be asked for, and say what is known of these paths.
    Intend(Vec<(RelPath, Intent)>),
    /// Forget what was intended at these paths: nothing was done.
    ForgetIntents(Vec<RelPath>),
    /// What asks for something.
    Diverging {
        /// Only after this path.
        after: Option<RelPath>,
        /// At most so many.
        at_most: usize,
    },
    /// Take in what was found.
    Observe {
        /// What.
        observed: Vec<Observed>,
        /// Lists of what is large among it.
        lists: Vec<(ContentId, List)>,
        /// What guards against a loss.
        guard: Guard,
    },
    /// Note what shows a head already.
    Agreed(Vec<Placed>),
    /// Note what was brought onto the disk, and what it displaced; this is the time.
    Placed(Vec<Placed>, Vec<Kept>, Time),
    /// End a conflict.
    Resolve {
        /// Where.
        path: RelPath,
        /// The versions whose bytes are here.
        versions: Vec<RecordHash>,
        /// The copies that stand on the disk already.
        copies: Vec<(RelPath, Here)>,
    },
    /// What removals would take.
    Survey {
        /// This is the time.
        at: Time,
        /// A person has said that they are meant.
        is_meant: bool,
    },
    /// Where these contents are.
    Places(Vec<ContentId>),
    /// Where these segments are.
    PlacesOfSegments(Vec<SegmentId>),
    /// The list of a content, or a page of it.
    List(ContentId, Option<u32>),
    /// Keep a list, an index, or a page.
    PutList(ContentId, Option<u32>, ListPart),
    /// What to answer to these.
    Serve(Vec<Asked>),
    /// What is lacking here; at most so many.
    Lacking(usize),
    /// The first reconcile is done.
    SetFirstContact,
    /// A guard has stopped the share, or no longer.
    SetHalted(bool),
    /// Draw a new writer with this salt; up to this place others know what the old one has published.
    NewWriter(WriterSalt, Option<Place>),
    /// Take up entries of the roster that this device has signed.
    Enter(Vec<Entry>),
    /// About what the history holds.
    History(history::Job),
    /// Let go of lists that nothing names.
    ForgetUnnamedLists,
}

/// What comes of a [`Job`].
#[derive(Debug)]
pub enum Answer {
    /// For a link.
    Link(store::Answer),
    /// What this device is and may do.
    Life(Box<Life>),
    /// What was last seen, in path order.
    Shown(Vec<(RelPath, Here)>),
    /// What is known of the paths that ask for something, in order.
    Page(Vec<Triple>),
    /// What is known of each path asked for.
    Triples(Vec<Option<Triple>>),
    /// What became of observations, and what was published.
    Observed(Vec<Outcome>, Vec<Batch>),
    /// Nothing was noted: this much would be lost.
    Guarded(Survey),
    /// What became of placements.
    Placed(Vec<PlacedOutcome>),
    /// What became of a resolution.
    Resolved(Resolved),
    /// What removals would take, and of how many paths.
    Survey(Survey, u64),
    /// Places of each.
    Places(Vec<Vec<BytesAt>>),
    /// The list, or what was asked for of it.
    List(Option<ListPart>),
    /// What to serve, for each.
    Serve(Vec<Serving>),
    /// What is lacking, and the root of all records.
    Lacking(BTreeSet<RecordHash>, Sum),
    /// What is known of the paths of [`Job::Intend`], and who said what each is to show.
    Intended(Vec<Option<Triple>>, Vec<Option<DeviceId>>),
    /// The entries were taken up.
    Entered {
        /// Those that were not here, to be passed on.
        fresh: Vec<Vec<u8>>,
        /// What was published because of them.
        published: Vec<Batch>,
        /// What this device is and may do now.
        life: Box<Life>,
    },
    /// Of the history.
    History(history::Answer),
    /// Done; this was published because of it.
    Published(Vec<Batch>),
    /// Done.
    Done,
    /// The index refuses; the text says why.
    Failed(String),
}

/// Performs a job.
pub fn perform<I: Index>(job: Job, index: &mut I) -> Answer {
    attempt(job, index).unwrap_or_else(|error| Answer::Failed(error.to_string()))
}

fn attempt<I: Index>(job: Job, index: &mut I) -> Result<Answer, I::Error> {
    Ok(match job {
        Job::Link(job) => Answer::Link(store::perform(job, index)),
        Job::Life => Answer::Life(Box::new(index.life()?)),
        Job::Shown { below, after, at_most } => {
            Answer::Shown(index.shown(below.as_ref(), after.as_ref(), at_most)?)
        }
        Job::Triples(paths) => {
            Answer::Triples(paths.iter().map(|path| index.triple(path)).collect::<Result<_, _>>()?)
        }
        Job::Intend(intents) => {
            let rows = index.intend(intents)?;
            let authors = index.authors(&rows)?;
            Answer::Intended(rows, authors)
        }
        Job::ForgetIntents(paths) => done(index.forget_intents(&paths)?),
        Job::Diverging { after, at_most } => Answer::Page(index.diverging(after.as_ref(), at_most)?),
        Job::Observe { observed, lists, guard } => observe(observed, lists, &guard, index)?,
        Job::Agreed(agreed) => Answer::Placed(index.agreed(agreed)?),
        Job::Placed(placed, history, now) => Answer::Placed(index.placed(placed, history, now)?),
        Job::Resolve { path, versions, copies } => Answer::Resolved(index.resolve(&path, &versions, copies)?),
        Job::Survey { at, is_meant } => {
            let (survey, removals) = index.survey(at, is_meant)?;
            Answer::Survey(survey, removals)
        }
        Job::Places(contents) => {
            Answer::Places(contents.iter().map(|content| index.places(content)).collect::<Result<_, _>>()?)
        }
        Job::PlacesOfSegments(segments) => {
            let places = segments.iter().map(|segment| index.places_of_segment(segment));
            Answer::Places(places.collect::<Result<_, _>>()?)
        }
        Job::List(content, page) => Answer::List(index.list(&content, page)?),
        Job::PutList(content, page, part) => done(index.put_list(content, page, part)?),
        Job::Serve(asked) => {
            Answer::Serve(asked.iter().map(|asked| index.serve(asked)).collect::<Result<_, _>>()?)
        }
        Job::Lacking(at_most) => {
            let (records, root) = index.lacking(at_most)?;
            Answer::Lacking(records, root)
        }
        Job::SetFirstContact => done(index.set_first_contact()?),
        Job::SetHalted(is_halted) => done(index.set_halted(is_halted)?),
        Job::NewWriter(salt, agreed) => Answer::Published(index.new_writer(salt, agreed)?),
        Job::Enter(entries) => {
            let (fresh, published) = store::take_up(entries, index)?;
            Answer::Entered { fresh, published, life: Box::new(index.life()?) }
        }
        Job::History(job) => Answer::History(history::perform(job, index)?),
        Job::ForgetUnnamedLists => done(index.forget_unnamed_lists()?),
    })
}

fn done((): ()) -> Answer {
    Answer::Done
}

fn observe<I: Index>(
    observed: Vec<Observed>,
    lists: Vec<(ContentId, List)>,
    guard: &Guard,
    index: &mut I,
) -> Result<Answer, I::Error> {
    let deletes = observed.iter().any(|one| one.compared.is_some() && one.found.is_none());
    if deletes && !guard.is_meant {
        let survey = index.loss(&observed, guard)?;
        if shoal_proto::guard::looks_unmounted(survey.had, survey.lost) {
            return Ok(Answer::Guarded(survey));
        }
    }
    let (outcomes, batches) = index.observe(observed, lists, guard)?;
    Ok(Answer::Observed(outcomes, batches))
}
