//! What is given away and what is kept for it: proofs, and lists of segments.

use super::*;

/// What one row lets go of and another one takes up in the same job stays, in whatever order they are written.
#[test]
fn a_move_keeps_the_list_of_segments() {
    for (from, to) in [("a", "b"), ("b", "a")] {
        let mut ana = index(1);
        let mut hasher = ListHasher::new();
        let segments: Vec<Segment> = [300_000, 7]
            .map(|length| Segment { id: shoal_proto::hash::SegmentId::from_bytes([1; 32]), length })
            .into();
        segments.iter().for_each(|segment| hasher.push(*segment).unwrap());
        let listed = hasher.finish();
        let list = ListPart::Segments(SegmentList::new(segments).unwrap());
        ana.put_list(listed.content, None, &list).unwrap();
        let mut here = file(1, 10);
        here.version.kind = Kind::File { size: listed.size, content: listed.content };
        see(&mut ana, from, Some(here.clone()));
        let gone = Observed { path: path(from), compared: Some(here.clone()), found: None };
        let new = Observed { path: path(to), compared: None, found: Some(here) };
        ana.observe(vec![gone, new], &[]).unwrap();
        assert_eq!(ana.list(&listed.content, None).unwrap(), Some(list), "{from} to {to}");
        see(&mut ana, to, None);
        assert_eq!(ana.list(&listed.content, None).unwrap(), None);
        check(&ana);
    }
}

/// Any part of a publication is proved, also when it has been told in parts.
#[test]
fn every_part_of_a_publication_is_proved() {
    let mut ana = index(1);
    let observed = (0..21).map(|number| {
        let found = Some(file(1 + number, 10));
        Observed { path: path(&format!("f{number}")), compared: None, found }
    });
    let published = ana.observe(observed.collect(), &[]).unwrap().batches;
    let hashes: Vec<_> = published[0].records.iter().map(Record::hash).collect();
    let mut ben = index(2);
    for every in [1, 2, 3, 7, 20] {
        let some: Vec<_> = hashes.iter().copied().step_by(every).collect();
        let batches = ana.batches(&some).unwrap();
        let (_, proved) = batches[0].verify(&share()).unwrap();
        assert_eq!((batches.len(), &proved), (1, &some));
        if every > 1 {
            assert!(matches!(batches[0].part, Part::Some(_)));
            tell(&mut ben, &batches);
            assert_eq!(ben.batches(&some).unwrap(), batches);
        }
    }
    check(&ben);
}

/// I18: a record that was altered on the disk is never given away.
#[test]
fn i18_an_altered_record_is_found_out() {
    let mut ana = index(1);
    see(&mut ana, "a", Some(file(1, 10)));
    let hash = ana.record(&all(&ana)[0].records[0].hash()).unwrap().unwrap().hash();
    let heads: Vec<u8> = ana.conn.query_row("SELECT heads FROM paths", [], |row| row.get(0)).unwrap();
    for at in [11, 30, heads.len() - 1] {
        let mut altered = heads.clone();
        altered[at] ^= 1;
        ana.conn.execute("UPDATE paths SET heads = ?1", [altered]).unwrap();
        assert!(ana.batches(&[hash]).is_err() || ana.batches(&[hash]).unwrap().is_empty(), "{at}");
        let memory = memory::Memory::load(&ana.conn, ana.life.founding).unwrap();
        let old = core::mem::replace(&mut ana.memory, memory);
        assert!(ana.everything(None, 9).map_or(true, |page| page.batches[0].records.is_empty()), "{at}");
        assert_ne!(ana.memory.digests, old.digests);
        ana.memory = old;
    }
}
