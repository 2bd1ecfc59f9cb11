//! Stories of a member that asks.

use shoal_proto::hash::ContentId;
use shoal_proto::message::{Channel, Span, Unserved};
use shoal_proto::segment::SegmentList;

use super::*;
use crate::disk::StageId;
use crate::index::{Asked, Serving};
use crate::limits::{SERVE_ITEMS_MAX, SERVE_READ_BYTES_MAX, SERVE_REQUESTS_MAX, SERVE_SENT_BYTES_MAX};
use crate::testing::{Store, path, random, segment_of};

const BEN: SourceId = SourceId(1);
const CHANNEL: Channel = Channel(0);
const MIB: usize = 1 << 20;

/// Somebody who serves, and what was sent.
struct World {
    serve: Serve,
    store: Store,
    sent: Vec<(RequestId, Message)>,
    /// What is said to be staged.
    staged: Option<(Asked, BytesAt, u64)>,
}

impl World {
    fn new() -> Self {
        let mut serve = Serve::new();
        serve.connected(BEN);
        Self { serve, store: Store::default(), sent: Vec::new(), staged: None }
    }

    fn ask(&mut self, request: u32, message: Message) {
        self.serve.asked(BEN, RequestId(request), message).unwrap();
    }

    /// All that can be done while nothing that was sent gets on its way.
    fn settle(&mut self) {
        while let Some(next) = self.serve.poll() {
            match next {
                Do::Index(tag, job) => {
                    let answer = self.store.index(job);
                    let staged = |asked: &Asked| {
                        let (which, place, length) = self.staged.as_ref()?;
                        (which == asked).then(|| (place.clone(), *length))
                    };
                    self.serve.indexed(tag, answer, staged);
                }
                Do::Disk(tag, job) => {
                    let answer = self.store.disk(job);
                    self.serve.disk_done(tag, answer);
                }
                Do::Send(_, request, message) => self.sent.push((request, message)),
            }
        }
    }

    fn run(&mut self) {
        let mut before = usize::MAX;
        while before != self.sent.len() {
            before = self.sent.len();
            self.serve.drained(BEN);
            self.settle();
        }
    }

    /// What was sent for a request: bytes by number, and why the rest was not served.
    fn answer(&self, request: u32) -> (BTreeMap<u32, Vec<u8>>, Option<Unserved>) {
        let (mut things, mut unserved) = (BTreeMap::<u32, Vec<u8>>::new(), None);
        for (_, message) in self.sent.iter().filter(|(other, _)| *other == RequestId(request)) {
            assert_eq!(unserved, None, "it is the last");
            match message {
                Message::Content { number, from, bytes, .. } => {
                    let thing = things.entry(*number).or_default();
                    assert_eq!(thing.len() as u64, *from);
                    thing.extend_from_slice(bytes);
                }
                Message::List(bytes) => drop(things.insert(0, bytes.clone())),
                Message::Unserved(why) => unserved = Some(*why),
                other => panic!("{other:?}"),
            }
        }
        (things, unserved)
    }

    fn sent_bytes(&self) -> u64 {
        let bytes = |message: &Message| match message {
            Message::Content { bytes, .. } | Message::List(bytes) => bytes.len() as u64,
            _ => 0,
        };
        self.sent.iter().map(|(_, message)| bytes(message)).sum()
    }
}

fn contents(contents: &[ContentId]) -> Message {
    Message::WantContents { channel: CHANNEL, contents: contents.to_vec() }
}

fn segment(content: ContentId, segment: u32, spans: &[(u32, u32)]) -> Message {
    let spans = spans.iter().map(|&(from, length)| Span { from, length }).collect();
    Message::WantSegment { channel: CHANNEL, content, segment, spans }
}

/// F20, I11: what no head names is not served, whoever asks; what cannot be served does not keep the rest.
#[test]
fn i11_only_what_a_head_names_is_served() {
    let mut world = World::new();
    let (one, other) = (random(1, 300), random(2, 400));
    let served = world.store.add("a", one.clone());
    let foreign = world.store.add("b", other.clone());
    world.store.named.remove(&foreign);
    world.ask(1, contents(&[foreign, served]));
    world.ask(2, segment(foreign, 0, &[(0, 1)]));
    world.ask(3, Message::WantList { channel: CHANNEL, content: foreign, page: None });
    world.ask(4, Message::WantChunks { channel: CHANNEL, content: foreign, segment: 0 });
    world.run();
    assert_eq!(world.answer(1), (BTreeMap::from([(1, one)]), Some(Unserved::Foreign)));
    for request in 2..=4 {
        assert_eq!(world.answer(request), (BTreeMap::new(), Some(Unserved::Foreign)));
    }
}

#[test]
fn all_sorts_of_requests_are_answered_in_the_order_of_asking() {
    let mut world = World::new();
    let (large, small) = (random(1, 6 * MIB), random(2, 300_000));
    let content = world.store.add("l", large.clone());
    let one = world.store.add("s", small.clone());
    let Some(crate::index::List::Whole(list)) = world.store.lists.get(&content).cloned() else { panic!() };
    let first = list.segments()[0].length as usize;
    let second = list.segments()[1].length;
    world.ask(5, Message::WantList { channel: CHANNEL, content, page: None });
    world.ask(4, Message::WantList { channel: CHANNEL, content: one, page: None });
    world.ask(3, segment(content, 1, &[(0, 10), (20, second - 20)]));
    world.ask(2, Message::WantChunks { channel: CHANNEL, content, segment: 1 });
    world.ask(1, segment(one, 0, &[(7, 9)]));
    world.run();
    assert_eq!(world.answer(5).0[&0], list.encode());
    let of_one = SegmentList::new(vec![segment_of(&small)]).unwrap();
    assert_eq!(world.answer(4).0[&0], of_one.encode());
    let bytes = &large[first..first + second as usize];
    assert_eq!(world.answer(3).0, BTreeMap::from([(0, bytes[..10].to_vec()), (1, bytes[20..].to_vec())]));
    assert_eq!(world.answer(2).0[&0], shoal_proto::chunk::ChunkList::of(&content, bytes).encode());
    assert_eq!(world.answer(1).0[&0], small[7..16]);
    let mut order: Vec<u32> = world.sent.iter().map(|(request, _)| request.0).collect();
    order.dedup();
    assert_eq!(order, [5, 4, 3, 2, 1]);
}

#[test]
fn what_goes_beyond_a_segment_or_is_gone_is_not_served() {
    let mut world = World::new();
    let bytes = random(1, 1000);
    let content = world.store.add("a", bytes);
    let gone = world.store.add("b", random(2, 1000));
    world.store.files.remove(&path("b"));
    world.ask(1, segment(content, 0, &[(0, 10), (900, 101)]));
    world.ask(2, segment(content, 7, &[(0, 10)]));
    world.ask(3, contents(&[gone]));
    world.ask(4, Message::WantList { channel: CHANNEL, content, page: Some(1) });
    world.run();
    assert_eq!((world.answer(1).0.len(), world.answer(1).1), (1, Some(Unserved::Foreign)));
    assert_eq!(world.answer(2), (BTreeMap::new(), Some(Unserved::Absent)));
    assert_eq!(world.answer(3), (BTreeMap::new(), Some(Unserved::Busy)));
    assert_eq!(world.answer(4), (BTreeMap::new(), Some(Unserved::Absent)));
}

/// The index knows a head, and the bytes stand in a staged file.
#[test]
fn what_is_staged_and_named_is_served() {
    let mut world = World::new();
    let bytes = random(1, 1000);
    let content = ContentId::from(segment_of(&bytes).id);
    let stage = StageId(4);
    world.store.staged.entry(stage).or_default().insert(0, bytes.clone());
    let place = BytesAt::Staged { stage, offset: 0 };
    world.staged = Some((Asked::Content(content), place, 1000));
    world.ask(1, contents(&[content]));
    world.run();
    assert_eq!(world.answer(1).1, Some(Unserved::Foreign), "no head names it");
    world.store.named.insert(content);
    world.ask(2, contents(&[content]));
    world.run();
    assert_eq!(world.answer(2), (BTreeMap::from([(0, bytes)]), None));
}

/// I30: who takes nothing gets no more read than has its place, and others are served.
#[test]
fn i30_who_takes_nothing_has_little_read_for_it() {
    let mut world = World::new();
    let bytes = random(1, 12 * MIB);
    let content = world.store.add("l", bytes.clone());
    let Some(crate::index::List::Whole(list)) = world.store.lists.get(&content).cloned() else { panic!() };
    let cana = SourceId(2);
    world.serve.connected(cana);
    for (at, part) in (0..).zip(list.segments()) {
        world.ask(at + 1, segment(content, at, &[(0, part.length)]));
    }
    world.settle();
    let most = SERVE_SENT_BYTES_MAX + (256 << 10);
    assert!(world.sent_bytes() <= most && world.sent_bytes() >= SERVE_SENT_BYTES_MAX - (256 << 10));
    assert!(world.store.most_read <= u64::from(SERVE_READ_BYTES_MAX));
    let before = world.sent.len();
    world.serve.asked(cana, RequestId(1), segment(content, 0, &[(0, 1)])).unwrap();
    world.settle();
    assert_eq!(world.sent.len(), before + 1);
    assert_eq!(world.serve.poll().map(drop), None);
    world.sent.clear();
    world.run();
    assert!(world.sent_bytes() > 10 << 20);
}

/// I30: who asks for lists and takes none has few of them queued, and is hung up on in the end.
#[test]
fn i30_who_takes_no_lists_gets_few() {
    let mut world = World::new();
    let content = world.store.add("l", random(1, 12 * MIB));
    let segment =
        shoal_proto::segment::Segment { length: shoal_proto::limits::SEGMENT_BYTES_MIN, ..segment_of(b"x") };
    let segments = vec![segment; 4000];
    world.store.lists.insert(content, crate::index::List::Whole(SegmentList::new(segments).unwrap()));
    let want = || Message::WantList { channel: CHANNEL, content, page: None };
    let mut asked = 0;
    while world.serve.asked(BEN, RequestId(1 + asked), want()).is_ok() {
        asked += 1;
        world.settle();
        assert!(asked < 10_000, "never refused");
    }
    assert!(world.sent_bytes() < 2 << 20, "{} bytes were sent", world.sent_bytes());
    world.run();
    assert_eq!(world.serve.asked(BEN, RequestId(u32::MAX), want()), Ok(()));
}

/// I30: so much may be asked for at once.
#[test]
fn i30_what_is_asked_for_beyond_the_bound_is_refused_and_then_hung_up_on() {
    let mut world = World::new();
    let nothing = ContentId::from_bytes([1; 32]);
    for number in 1..=4 {
        world.ask(number, contents(&vec![nothing; SERVE_ITEMS_MAX / 4]));
    }
    world.ask(9, contents(&[nothing]));
    let Some(Do::Send(_, request, Message::Unserved(Unserved::Busy))) = world.serve.poll() else { panic!() };
    assert_eq!(request, RequestId(9));
    let mut world = World::new();
    let many = u32::try_from(SERVE_REQUESTS_MAX).unwrap();
    for number in 0..2 * many {
        world.ask(number + 1, contents(&[nothing]));
    }
    let more = |world: &mut World| world.serve.asked(BEN, RequestId(u32::MAX), contents(&[nothing]));
    assert_eq!(more(&mut world), Err(Misuse::TooMuch));
    world.run();
    assert_eq!(more(&mut world), Ok(()));
}

#[test]
fn what_is_cancelled_is_not_sent() {
    let mut world = World::new();
    let bytes = random(1, 12 * MIB);
    let content = world.store.add("l", bytes);
    let small = world.store.add("s", random(2, 10));
    for at in 0..5 {
        world.ask(at + 1, segment(content, at, &[(0, 200_000)]));
    }
    world.settle();
    for at in 0..5 {
        world.ask(at + 1, Message::Cancel);
    }
    world.ask(77, Message::Cancel);
    world.ask(6, contents(&[small]));
    world.sent.clear();
    world.run();
    let requests: Vec<u32> = world.sent.iter().map(|(request, _)| request.0).collect();
    assert_eq!(requests, [6]);
}

#[test]
fn who_asks_against_the_rules_is_told_apart() {
    let mut world = World::new();
    let content = ContentId::from_bytes([1; 32]);
    world.ask(1, contents(&[content]));
    let mut ask = |request, message| world.serve.asked(BEN, RequestId(request), message);
    assert_eq!(ask(1, contents(&[content])), Err(Misuse::RequestInUse));
    assert_eq!(ask(0, contents(&[content])), Err(Misuse::RequestInUse));
    assert_eq!(ask(2, Message::Pong), Err(Misuse::NoRequest));
}

/// Somebody hangs up while the disk reads for it, and answers come late.
#[test]
fn what_is_read_for_who_is_gone_is_let_go() {
    let mut world = World::new();
    let content = world.store.add("s", random(2, 10));
    world.ask(1, contents(&[content]));
    let Some(Do::Index(tag, job)) = world.serve.poll() else { panic!() };
    world.serve.disconnected(BEN);
    world.serve.connected(BEN);
    world.serve.indexed(tag, world.store.index(job), |_| None);
    world.run();
    assert_eq!(world.sent, []);
    world.ask(1, contents(&[content]));
    let Some(Do::Index(tag, _)) = world.serve.poll() else { panic!() };
    world.serve.indexed(tag, index::Answer::Failed("no".to_owned()), |_| None);
    world.run();
    assert_eq!(world.answer(1), (BTreeMap::new(), Some(Unserved::Busy)));
    world.ask(2, contents(&[content]));
    let Some(Do::Index(tag, job)) = world.serve.poll() else { panic!() };
    assert!(
        matches!(world.store.index(job), index::Answer::Serve(servings) if matches!(servings[0], Serving::Bytes { .. }))
    );
    world.serve.indexed(tag, index::Answer::Serve(Vec::new()), |_| None);
    world.run();
    assert_eq!(world.answer(2).1, Some(Unserved::Busy));
}
