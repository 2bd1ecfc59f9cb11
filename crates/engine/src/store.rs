//! What the engine needs of an index, and the jobs that it gives to it.
//!
//! Promise: all that reads and changes the index in one go is one [`Job`], which whoever owns the index performs with
//! [`perform`], in the order in which jobs come; so nothing is decided on what has changed meanwhile. A job that fails
//! has changed nothing. A [`Link`](crate::link::Link) says nothing that rests on a job not yet answered.

use shoal_proto::batch::{Batch, BatchError};
use shoal_proto::chain::{Told, told};
use shoal_proto::digest::Sum;
use shoal_proto::hash::RecordHash;
use shoal_proto::id::{DeviceId, ShareId, Writer, WriterSalt};
use shoal_proto::limits::MESSAGE_PUBLICATIONS_MAX;
use shoal_proto::message::Refusal;
use shoal_proto::publication::{Place, Publication, PublicationHash};
use shoal_proto::reconcile::{Output, Reconcile, ReconcileError, ReconcileMessage, Records};
use shoal_proto::roster::{Entries, Entry, Role, Roster, Statement};

use crate::limits::{STEP_OUTPUTS_MAX, STEP_RECORDS_MAX, STREAM_RECORDS_MAX};

/// The index of one share, in the engine's words.
pub trait Store: Records {
    /// Why the database refuses.
    type Error: core::fmt::Display;

    /// What this device is in the share.
    fn me(&self) -> Me;

    /// The entries of the roster.
    fn entries(&self) -> &Entries;

    /// What they come to.
    fn roster(&self) -> &Roster;

    /// The last publication that is known of a writer.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn last_publication(&self, writer: Writer) -> Result<Option<Publication>, Self::Error>;

    /// The publication of the own writer with this number.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn own_publication(&self, sequence: u64) -> Result<Option<PublicationHash>, Self::Error>;

    /// The publications of a writer from one number up to another one, in their order.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn publications(&self, writer: Writer, from: u64, to: u64) -> Result<Vec<Publication>, Self::Error>;

    /// Whether a record is a head.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn holds(&self, record: &RecordHash) -> Result<bool, Self::Error>;

    /// Takes up entries; what was published because of them is to be pushed.
    ///
    /// # Errors
    /// When the database refuses.
    fn add_entries(&mut self, entries: Vec<Entry>) -> Result<Vec<Batch>, Self::Error>;

    /// Verifies and merges records of others.
    ///
    /// # Errors
    /// When the database refuses.
    fn merge(&mut self, batches: Vec<Batch>) -> Result<Merge, Self::Error>;

    /// These records with what proves them, as far as they are heads.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn batches(&self, records: &[RecordHash]) -> Result<Vec<Batch>, Self::Error>;

    /// A page of all records, for an end that has none; and what to ask the next page after.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn everything(
        &self,
        after: Option<u32>,
        at_most: usize,
    ) -> Result<(Vec<Batch>, Option<u32>), Self::Error>;
}

/// What a device is in a share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Me {
    /// The share.
    pub share: ShareId,
    /// The device.
    pub device: DeviceId,
    /// What its writer was drawn with.
    pub salt: WriterSalt,
    /// Its writer.
    pub writer: Writer,
    /// The last that it published.
    pub published: Option<Place>,
}

/// What came of merging.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Merge {
    /// These are heads now that were none before.
    Done(Vec<RecordHash>),
    /// A batch proves nothing: who sent it is at fault.
    False(BatchError),
    /// The own index turned out to be older than what others know of it. Nothing was merged. This is the last that it
    /// knows itself to have published.
    RolledBack(Option<Place>),
}

/// What is to be done with the index for a link.
#[derive(Debug)]
pub enum Job {
    /// Say who this device is and what it has.
    Introduce,
    /// Get to know the other end's writer, and compare rosters.
    Meet {
        /// The other end.
        device: DeviceId,
        /// What its writer was drawn with.
        salt: WriterSalt,
        /// The hash of its roster.
        roster: [u8; 32],
    },
    /// Compare what the other end knows of the own writer with what is true.
    Compare(Option<Publication>),
    /// Fetch publications of a writer, from one number up to another.
    Publications(Writer, u64, u64),
    /// Find where the chain of the own writer, as the other end knows it, parted from the own one.
    Fork(Vec<Publication>),
    /// Take up entries that the other end sent.
    Enter {
        /// The other end, which may be about to come in.
        device: DeviceId,
        /// As they came.
        entries: Vec<Vec<u8>>,
        /// Seconds since 1970, to judge whether an invite has expired.
        now: u64,
    },
    /// A step of finding out what differs; the conversation comes back with the answer.
    Step(Box<Reconcile>, Step),
    /// Take in records.
    Merge(Vec<Batch>),
    /// Say which of these records are not here.
    Lacking(Vec<RecordHash>),
    /// Fetch these records.
    Records(Vec<RecordHash>),
    /// Fetch all records, from this place on.
    Everything(Option<u32>),
    /// Say what the sum over all records is.
    Root,
}

/// A step of reconciling.
#[derive(Debug)]
pub enum Step {
    /// A round may begin.
    Begin,
    /// The same, and what the other end has cost so far is forgotten; whether it may have everything, if it is empty.
    BeginForgiving(bool),
    /// The other end said this.
    Said(ReconcileMessage),
    /// The other end said this; what is to be said to it waits for [`Step::GoOn`].
    Noted(ReconcileMessage),
    /// Go on with what is to be sent.
    GoOn,
}

/// What a step of reconciling asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Say {
    /// Send this.
    Message(ReconcileMessage),
    /// Send these records.
    Records(Vec<Batch>),
    /// Send everything: the other end has nothing.
    Everything,
    /// Both ends hold the same records, and have proved it.
    InSync,
    /// Another round would bring nothing new before something changes.
    Wait,
}

/// What comes of a [`Job`].
#[derive(Debug)]
pub enum Answer {
    /// Who this device is.
    Introduced {
        /// What it is in the share.
        me: Me,
        /// How many records it has.
        records: u64,
        /// The hash of its roster.
        roster: [u8; 32],
    },
    /// What is known of the other end.
    Met {
        /// The last publication of its writer.
        known: Option<Publication>,
        /// All entries of the own roster, if the other end's is another one.
        entries: Vec<Vec<u8>>,
        /// Its role; `None` if it is no member.
        role: Option<Role>,
    },
    /// Whether the own index is what others take it for.
    Compared(Told),
    /// Publications without their records.
    Publications(Vec<Publication>),
    /// The last place that both ends know of the own writer's chain; `None`: there is none among those.
    Forked(Option<Place>),
    /// The entries were taken up.
    Entered {
        /// The other end's role now.
        role: Option<Role>,
        /// Why it is none, if it has shown an invite.
        refused: Option<Refusal>,
        /// Those that were not here, to be passed on.
        fresh: Vec<Vec<u8>>,
        /// What was published because of them.
        published: Vec<Batch>,
    },
    /// What to do next, and whether there is more.
    Stepped {
        /// The conversation.
        conversation: Box<Reconcile>,
        /// In order.
        outputs: Vec<Say>,
        /// Whether [`Step::GoOn`] brings more.
        is_more: bool,
    },
    /// The conversation is over: the other end broke its rules.
    Broken(ReconcileError),
    /// What came of merging.
    Merged(Merge),
    /// These are not here.
    Lacking(Vec<RecordHash>),
    /// The sum over all records.
    Root(Sum),
    /// Records with what proves them; and where to go on, if these are a page of everything.
    Found(Vec<Batch>, Option<u32>),
    /// The index refuses; the text says why.
    Failed(String),
}

/// Performs a job.
pub fn perform<S: Store>(job: Job, store: &mut S) -> Answer {
    attempt(job, store).unwrap_or_else(|error| Answer::Failed(error.to_string()))
}

fn attempt<S: Store>(job: Job, store: &mut S) -> Result<Answer, S::Error> {
    Ok(match job {
        Job::Introduce => Answer::Introduced {
            me: store.me(),
            records: store.digests().records(),
            roster: store.entries().hash(),
        },
        Job::Meet { device, salt, roster } => {
            let writer = Writer::drawn(&device, &store.me().share, &salt);
            let is_same = roster == store.entries().hash();
            let entries = store.entries().iter().filter(|_| !is_same).map(Entry::encode).collect();
            Answer::Met {
                known: store.last_publication(writer)?,
                entries,
                role: store.roster().role(&device),
            }
        }
        Job::Compare(known) => compare(known.as_ref(), store)?,
        Job::Publications(writer, from, to) => {
            let to = to.min(from.saturating_add(MESSAGE_PUBLICATIONS_MAX as u64 - 1));
            Answer::Publications(store.publications(writer, from, to)?)
        }
        Job::Fork(theirs) => Answer::Forked(fork(&theirs, store)?),
        Job::Enter { device, entries, now } => enter(device, &entries, now, store)?,
        Job::Step(conversation, step) => take_step(conversation, step, store)?,
        Job::Merge(batches) => Answer::Merged(store.merge(batches)?),
        Job::Lacking(records) => {
            let mut lacking = Vec::new();
            for record in records {
                if !store.holds(&record)? {
                    lacking.push(record);
                }
            }
            Answer::Lacking(lacking)
        }
        Job::Root => Answer::Root(store.digests().root()),
        Job::Records(records) => Answer::Found(store.batches(&records)?, None),
        Job::Everything(after) => {
            let (batches, next) = store.everything(after, STREAM_RECORDS_MAX)?;
            Answer::Found(batches, next)
        }
    })
}

fn compare<S: Store>(known: Option<&Publication>, store: &S) -> Result<Answer, S::Error> {
    let me = store.me();
    let own = known.map(|known| store.own_publication(known.sequence)).transpose()?.flatten();
    Ok(Answer::Compared(told(&me.share, &me.device, me.writer, |_| own, known)))
}

fn fork<S: Store>(theirs: &[Publication], store: &S) -> Result<Option<Place>, S::Error> {
    let me = store.me();
    for publication in theirs.iter().rev().filter(|theirs| theirs.writer(&me.share) == me.writer) {
        let own = store.own_publication(publication.sequence)?;
        if let Some(hash) = own.filter(|own| *own == publication.hash(&me.share)) {
            return Ok(Some(Place { sequence: publication.sequence, hash }));
        }
    }
    Ok(None)
}

/// Entries of members are kept as they come; one by which a stranger comes in only if its invite lets it.
fn enter<S: Store>(
    device: DeviceId,
    entries: &[Vec<u8>],
    now: u64,
    store: &mut S,
) -> Result<Answer, S::Error> {
    // What cannot be read comes from a newer version, or from who is at fault; the rest counts all the same.
    let share = store.me().share;
    let mut entries: Vec<Entry> =
        entries.iter().filter_map(|bytes| Entry::decode(bytes, &share).ok()).collect();
    // One that is held and does not count was let in elsewhere, where it was not known who else was.
    let is_member = store.roster().role(&device).is_some();
    let void = entries.iter().find_map(|entry| void_join(entry, device, store));
    entries.retain(|entry| !store.entries().holds(entry));
    let mut refused = None;
    if !is_member {
        let (own, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| *entry.signer() == device);
        let (comes, why) = comes_in(own, now, store.entries());
        (entries, refused) = (others, why);
        entries.extend(comes);
    }
    let (fresh, published) = take_up(entries, store)?;
    let role = store.roster().role(&device);
    let refused = refused.or(void).filter(|_| role.is_none());
    Ok(Answer::Entered { role, refused, fresh, published })
}

/// Of what a stranger has signed, that by which it comes in, with what it has said of itself before; or why it does not.
fn comes_in(mut own: Vec<Entry>, now: u64, held: &Entries) -> (Vec<Entry>, Option<Refusal>) {
    own.sort_unstable_by_key(Entry::place);
    let (mut known, mut said, mut comes, mut refused) = (held.clone(), Vec::new(), Vec::new(), None);
    for entry in own {
        let is_news = match entry.statement() {
            Statement::Joined(_) => match known.may_join(&entry, now) {
                Ok(_) => {
                    comes.append(&mut said);
                    comes.push(entry.clone());
                    true
                }
                Err(why) => {
                    refused = Some(why.into());
                    false
                }
            },
            Statement::Device(_) | Statement::Left { .. } => {
                said.push(entry.clone());
                true
            }
            _ => false,
        };
        // For what there is no room it cannot come in by.
        let _ = is_news && known.insert(entry).is_ok();
    }
    (comes, refused)
}

/// Why an entry by which a device would come in does not count.
fn void_join<S: Store>(entry: &Entry, device: DeviceId, store: &S) -> Option<Refusal> {
    let is_join = *entry.signer() == device && matches!(entry.statement(), Statement::Joined(_));
    let void = store.roster().void().get(&entry.hash()).filter(|_| is_join);
    void.copied().map(Refusal::from)
}

/// Entries that are to be passed on, and what was published because of them.
pub(crate) type TakenUp = (Vec<Vec<u8>>, Vec<Batch>);

/// Takes up entries; those that were not here and are now, and what was published because of them. What there is no room
/// for nobody is told of: among several who have none, it would go round for ever.
pub(crate) fn take_up<S: Store>(mut entries: Vec<Entry>, store: &mut S) -> Result<TakenUp, S::Error> {
    entries.retain(|entry| !store.entries().holds(entry));
    if entries.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let published = store.add_entries(entries.clone())?;
    entries.retain(|entry| store.entries().holds(entry));
    Ok((entries.iter().map(Entry::encode).collect(), published))
}

fn take_step<S: Store>(mut conversation: Box<Reconcile>, step: Step, store: &S) -> Result<Answer, S::Error> {
    match step {
        // What has changed were no records, but entries of the roster: that both ends hold the same is so still.
        Step::Begin if conversation.is_agreed(store.digests()) => {
            return Ok(Answer::Stepped { conversation, outputs: vec![Say::InSync], is_more: true });
        }
        Step::BeginForgiving(may_stream) => {
            conversation.forgive(may_stream);
            conversation.begin(store);
        }
        Step::Begin => conversation.begin(store),
        Step::Said(message) => {
            if let Err(error) = conversation.handle(message, store) {
                return Ok(Answer::Broken(error));
            }
        }
        Step::Noted(message) => {
            return Ok(match conversation.handle(message, store) {
                Ok(()) => Answer::Stepped { conversation, outputs: Vec::new(), is_more: true },
                Err(error) => Answer::Broken(error),
            });
        }
        Step::GoOn => {}
    }
    let (mut outputs, mut records_left) = (Vec::new(), STEP_RECORDS_MAX);
    while outputs.len() < STEP_OUTPUTS_MAX && records_left > 0 {
        let Some(output) = conversation.poll(store) else {
            return Ok(Answer::Stepped { conversation, outputs, is_more: false });
        };
        outputs.push(match output {
            Output::Send(message) => Say::Message(message),
            Output::Push(records) => {
                records_left = records_left.saturating_sub(records.len());
                Say::Records(store.batches(&records)?)
            }
            Output::StreamAll => Say::Everything,
            Output::InSync => Say::InSync,
            Output::Wait => Say::Wait,
        });
    }
    Ok(Answer::Stepped { conversation, outputs, is_more: true })
}
