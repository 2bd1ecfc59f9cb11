//! What a peer that asks for content is given, and what is not its to get.

use shoal_engine::index::{Asked, Serving};
use shoal_proto::hash::SegmentId;
use shoal_proto::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENTS_PER_PAGE};
use shoal_proto::message::Unserved;
use shoal_proto::segment::Listed;

use super::*;

const ABSENT: Serving = Serving::Unserved(Unserved::Absent);

fn ask(index: &Index, asked: Asked) -> Serving {
    index.serve(&asked).unwrap()
}

fn content(byte: u8) -> ContentId {
    ContentId::from_bytes([byte; 32])
}

fn segment(byte: u8, length: u32) -> Segment {
    Segment { id: SegmentId::from_bytes([byte; 32]), length }
}

fn listed(segments: &[Segment]) -> Listed {
    let mut hasher = ListHasher::new();
    segments.iter().for_each(|segment| hasher.push(*segment).unwrap());
    hasher.finish()
}

/// A file that consists of these segments, and its list, as a scan finds them.
fn large(segments: &[Segment]) -> (Here, (ContentId, List)) {
    let Listed { content, size, index, .. } = listed(segments);
    let pages = segments.chunks(SEGMENTS_PER_PAGE).map(|page| SegmentList::new(page.to_vec()).unwrap());
    let mut pages: Vec<_> = pages.collect();
    let list = match index {
        Some(index) => List::Paged(index, pages),
        None => List::Whole(pages.remove(0)),
    };
    (sized(size, content), (content, list))
}

fn sized(size: u64, content: ContentId) -> Here {
    let mut here = file(1, 10);
    here.version.kind = Kind::File { size, content };
    here
}

fn see_large(index: &mut Index, at: &str, segments: &[Segment]) -> (Here, ContentId) {
    let (here, list) = large(segments);
    let content = list.0;
    let observed = Observed { path: path(at), compared: None, found: Some(here.clone()) };
    assert_eq!(index.observe(vec![observed], &[list]).unwrap().outcomes, [Outcome::Published]);
    (here, content)
}

fn in_file(at: &str, here: &Here, offset: u64) -> BytesAt {
    BytesAt::Folder { path: path(at), seen: Seen::from(here), offset }
}

fn bytes(places: Vec<BytesAt>, length: u64) -> Serving {
    Serving::Bytes { places, length }
}

fn history(number: u64, content: ContentId, size: u64) -> Kept {
    Kept { content: Some(content), size, ..kept(number, "old") }
}

#[test]
fn only_what_a_head_names_is_served() {
    let (mut ana, mut ben) = (index(1), index(2));
    ana.set_halted(true).unwrap();
    see(&mut ana, "secret", Some(file(7, 10)));
    ana.add_history(&[history(1, content(8), 8)]).unwrap();
    for content in [content(7), content(8), content(9)] {
        for asked in [Asked::Content(content), Asked::Segment(content, 0), Asked::List(content, None)] {
            assert_eq!(ask(&ana, asked), Serving::Unserved(Unserved::Foreign), "{asked:?}");
        }
    }
    ana.set_halted(false).unwrap();
    let batches = see(&mut ana, "secret", Some(file(7, 10))).1;
    assert_eq!(ask(&ana, Asked::Content(content(7))), bytes(vec![in_file("secret", &file(7, 10), 0)], 7));
    // Where only the record is, nothing can be given yet.
    tell(&mut ben, &batches);
    for asked in [Asked::Content(content(7)), Asked::Segment(content(7), 0), Asked::List(content(7), None)] {
        assert_eq!(ask(&ben, asked), ABSENT, "{asked:?}");
    }
    ben.add_history(&[history(5, content(7), 7)]).unwrap();
    let mtime = kept(5, "old").mtime;
    let kept = BytesAt::History { number: 5, size: 7, mtime, offset: 0 };
    assert_eq!(ask(&ben, Asked::Content(content(7))), bytes(vec![kept], 7));
}

#[test]
fn content_of_one_segment_is_its_own_list() {
    let mut ana = index(1);
    see(&mut ana, "a", Some(file(7, 10)));
    let at_a = bytes(vec![in_file("a", &file(7, 10), 0)], 7);
    assert_eq!(ask(&ana, Asked::Segment(content(7), 0)), at_a);
    assert_eq!(ask(&ana, Asked::Segment(content(7), 1)), ABSENT);
    assert_eq!(ask(&ana, Asked::List(content(7), Some(0))), ABSENT);
    let Serving::List(list) = ask(&ana, Asked::List(content(7), None)) else { panic!("no list") };
    let list = SegmentList::decode(&list, content(7), 7).unwrap();
    assert_eq!(list.segments(), [segment(7, 7)]);

    // An empty file has no segment.
    let nothing = ContentId::of_nothing();
    see(&mut ana, "empty", Some(sized(0, nothing)));
    let at_empty = bytes(vec![in_file("empty", &sized(0, nothing), 0)], 0);
    assert_eq!(ask(&ana, Asked::Content(nothing)), at_empty);
    assert_eq!(ask(&ana, Asked::List(nothing, None)), Serving::List(vec![]));
    assert_eq!(ask(&ana, Asked::Segment(nothing, 0)), ABSENT);

    // What is larger than a segment is none, though its list is not held.
    for (size, is_served) in [(SEGMENT_BYTES_MAX, true), (SEGMENT_BYTES_MAX + 1, false)] {
        see(&mut ana, "large", Some(sized(size.into(), content(9))));
        for asked in
            [Asked::Content(content(9)), Asked::Segment(content(9), 0), Asked::List(content(9), None)]
        {
            assert_eq!(ask(&ana, asked) != ABSENT, is_served, "{asked:?} of {size}");
        }
    }
}

#[test]
fn a_segment_is_served_from_wherever_its_bytes_are() {
    let mut ana = index(1);
    let min = SEGMENT_BYTES_MIN;
    let (one, shared, end) = (segment(1, min), segment(2, min + 1), segment(3, 9));
    let (first, name) = see_large(&mut ana, "a", &[one, shared, end]);
    assert_eq!(ask(&ana, Asked::Content(name)), ABSENT, "not in one piece");
    let min = u64::from(min);
    assert_eq!(ask(&ana, Asked::Segment(name, 2)), bytes(vec![in_file("a", &first, 2 * min + 1)], 9));
    assert_eq!(ask(&ana, Asked::Segment(name, 3)), ABSENT);
    let (second, _) = see_large(&mut ana, "b", &[shared, end]);
    see(&mut ana, "c", Some(sized(min + 1, shared.id.into())));
    let Serving::Bytes { places, length } = ask(&ana, Asked::Segment(name, 1)) else { panic!("absent") };
    assert_eq!((&places[0], length), (&in_file("a", &first, min), min + 1), "its own content first");
    let others = [in_file("b", &second, 0), in_file("c", &sized(min + 1, shared.id.into()), 0)];
    assert_eq!(places.len(), 3);
    assert!(others.iter().all(|other| places.contains(other)), "{places:?}");
    assert_eq!(ask(&ana, Asked::List(name, None)), {
        Serving::List(SegmentList::new(vec![one, shared, end]).unwrap().encode())
    });
    // The record stands and its file was taken away: what others have of it is still given.
    ana.set_halted(true).unwrap();
    see(&mut ana, "a", None);
    assert_eq!(ask(&ana, Asked::Segment(name, 0)), ABSENT);
    let Serving::Bytes { places, .. } = ask(&ana, Asked::Segment(name, 1)) else { panic!("absent") };
    assert_eq!(places.len(), 2);
    check(&ana);
}

#[test]
fn the_pages_of_a_long_list_are_served_one_by_one() {
    let mut ana = index(1);
    let mut segments: Vec<Segment> = Vec::new();
    for number in 0..SEGMENTS_PER_PAGE + 2 {
        let id = *blake_of(number);
        segments.push(Segment { id: SegmentId::from_bytes(id), length: SEGMENT_BYTES_MIN });
    }
    let (here, name) = see_large(&mut ana, "huge", &segments);
    let index_of = listed(&segments).index.unwrap();
    assert_eq!(ana.list(&name, None).unwrap(), Some(ListPart::Index(index_of.clone())));
    assert_eq!(ask(&ana, Asked::List(name, None)), Serving::List(index_of.encode()));
    for (page, some) in (0..).zip(segments.chunks(SEGMENTS_PER_PAGE)) {
        let list = SegmentList::new(some.to_vec()).unwrap();
        assert_eq!(ask(&ana, Asked::List(name, Some(page))), Serving::List(list.encode()));
    }
    assert_eq!(ask(&ana, Asked::List(name, Some(2))), ABSENT);
    let pages = SEGMENTS_PER_PAGE as u64;
    for number in [0, 1, pages - 1, pages, pages + 1] {
        let offset = number * u64::from(SEGMENT_BYTES_MIN);
        let asked = Asked::Segment(name, u32::try_from(number).unwrap());
        let length = SEGMENT_BYTES_MIN.into();
        assert_eq!(ask(&ana, asked), bytes(vec![in_file("huge", &here, offset)], length));
    }
    let beyond = u32::try_from(pages + 2).unwrap();
    assert_eq!(ask(&ana, Asked::Segment(name, beyond)), ABSENT);
    assert_eq!(ask(&ana, Asked::Segment(name, u32::MAX)), ABSENT);
    // As a peer gets it: the index, then the pages, in any order, and only the right ones.
    let mut ben = index(2);
    let list = |page: usize| {
        let some = segments.chunks(SEGMENTS_PER_PAGE).nth(page).unwrap();
        ListPart::Segments(SegmentList::new(some.to_vec()).unwrap())
    };
    assert!(matches!(ben.put_list(name, Some(1), &list(1)), Err(IndexError::NoList)));
    ben.put_list(name, None, &ListPart::Index(index_of)).unwrap();
    assert!(matches!(ben.put_list(name, Some(0), &list(1)), Err(IndexError::List(_))));
    ben.put_list(name, Some(1), &list(1)).unwrap();
    ben.put_list(name, Some(1), &list(1)).unwrap();
    assert_eq!(ben.list(&name, Some(1)).unwrap(), Some(list(1)));
    assert_eq!(ben.list(&name, Some(0)).unwrap(), None);
    assert_eq!(ben.forget_unnamed_lists().unwrap(), 1);
    assert_eq!(ben.list(&name, None).unwrap(), None);
    check(&ana);
}

fn blake_of(number: usize) -> Box<[u8; 32]> {
    Box::new(shoal_proto::hash::Domain::RECORD.hash_one(&number.to_be_bytes()))
}

/// I17: a list that is not its content's stops the whole job.
#[test]
fn i17_a_false_list_and_all_that_came_with_it_is_refused() {
    let mut ana = index(1);
    let (here, (name, list)) = large(&[segment(1, SEGMENT_BYTES_MIN), segment(2, 5)]);
    let observed =
        |found: &Here| vec![Observed { path: path("a"), compared: None, found: Some(found.clone()) }];
    let lists = vec![(name, list.clone()), (content(5), list.clone())];
    assert!(matches!(ana.observe(observed(&here), &lists), Err(IndexError::List(_))));
    assert!(ana.triple(&path("a")).unwrap().is_none() && ana.list(&name, None).unwrap().is_none());
    check(&ana);
    // The right one stays, and one of a single segment is not kept.
    let alone = List::Whole(SegmentList::new(vec![segment(7, 7)]).unwrap());
    ana.observe(observed(&here), &[(name, list), (content(7), alone)]).unwrap();
    assert!(ana.list(&name, None).unwrap().is_some() && ana.list(&content(7), None).unwrap().is_none());
}

/// Of many records that name a content only those count where it is.
#[test]
fn places_are_found_among_many_paths_without_it() {
    let (mut ana, mut ben) = (index(1), index(2));
    for number in 0..30 {
        see(&mut ana, &format!("f{number:02}"), Some(file(7, 10)));
    }
    tell(&mut ben, &all(&ana));
    assert_eq!(ben.places(&content(7)).unwrap(), []);
    show(&mut ben, "f29");
    let seen = ben.triple(&path("f29")).unwrap().unwrap().here.unwrap();
    assert_eq!(ben.places(&content(7)).unwrap(), [in_file("f29", &seen, 0)]);
    assert_eq!(ana.places(&content(7)).unwrap().len(), 8);
}
