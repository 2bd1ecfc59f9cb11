//! One hash over up to 1,024 records, of which each can be proved to be one with at most ten hashes.
//!
//! Promise: whoever holds the root and the count can be shown one list of records only, and at one place of
//! it only one record. Neighbours are hashed together, level by level; the last one of an odd level goes up
//! as it is, never doubled (doubling let Bitcoin blocks be forged, CVE-2012-2459). That is the tree of RFC
//! 9162, 2.1.1. The count says how deep each leaf lies, so an inner node cannot be passed off as a record;
//! besides, leaves are hashes under [`Domain::RECORD`] and nodes under [`Domain::MERKLE_NODE`]. The count
//! must therefore be signed with the root.

use crate::hash::{Domain, RecordHash, thirty_two_bytes};

thirty_two_bytes! {
    /// The hash over a list of records; means something together with their count.
    MerkleRoot
}

/// Shows that a record is one of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proof {
    /// Where in the list it stands, from 0.
    pub index: u16,
    /// The hashes beside the way up, from the record's neighbour on; at most
    /// [`PROOF_HASHES_MAX`](crate::limits::PROOF_HASHES_MAX) count.
    pub path: Vec<[u8; 32]>,
}

/// The root over these records; of none there is none.
pub(crate) fn root(records: &[RecordHash]) -> Option<MerkleRoot> {
    let mut level: Vec<[u8; 32]> = records.iter().map(|record| *record.as_bytes()).collect();
    while level.len() > 1 {
        level = above(&level);
    }
    level.first().copied().map(MerkleRoot::from_bytes)
}

/// How the record at `index` is proved; `None` if there is no such one.
pub(crate) fn proof(records: &[RecordHash], index: u16) -> Option<Proof> {
    proofs(records, &[index])?.pop()
}

/// How each of these records is proved, in the order in which they are asked for; `None` if one of them is not there.
///
/// The tree is made once: for many records of one list that costs little more than for one.
#[must_use]
pub fn proofs(records: &[RecordHash], indexes: &[u16]) -> Option<Vec<Proof>> {
    if indexes.iter().any(|&index| usize::from(index) >= records.len()) {
        return None;
    }
    let mut proofs: Vec<_> = indexes.iter().map(|&index| Proof { index, path: Vec::new() }).collect();
    let mut level: Vec<[u8; 32]> = records.iter().map(|record| *record.as_bytes()).collect();
    let mut height = 0;
    while level.len() > 1 {
        for proof in &mut proofs {
            proof.path.extend(level.get((usize::from(proof.index) >> height) ^ 1));
        }
        level = above(&level);
        height += 1;
    }
    Some(proofs)
}

/// Whether the proof leads from this record to the root of a list of `count`.
pub(crate) fn leads(record: &RecordHash, proof: &Proof, root: &MerkleRoot, count: u16) -> bool {
    let (mut at, mut width) = (proof.index, count);
    if at >= width {
        return false;
    }
    let mut hash = *record.as_bytes();
    let mut path = proof.path.iter();
    while width > 1 {
        if at ^ 1 < width {
            let Some(beside) = path.next() else { return false };
            hash = if at & 1 == 0 { node(&hash, beside) } else { node(beside, &hash) };
        }
        at /= 2;
        width = width.div_ceil(2);
    }
    path.next().is_none() && hash == *root.as_bytes()
}

fn above(level: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let pair = |pair: &[[u8; 32]]| match pair {
        [left, right] => node(left, right),
        _ => pair[0], // an odd level's last one
    };
    level.chunks(2).map(pair).collect()
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut both = [0; 64];
    both[..32].copy_from_slice(left);
    both[32..].copy_from_slice(right);
    Domain::MERKLE_NODE.hash_one(&both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{PROOF_HASHES_MAX, PUBLICATION_RECORDS_MAX};

    fn records(count: usize) -> Vec<RecordHash> {
        (0..count).map(|at| RecordHash::from_bytes(Domain::RECORD.hash_one(&at.to_be_bytes()))).collect()
    }

    #[test]
    fn every_record_of_every_small_list_is_proved_and_at_its_place_only() {
        for count in (1..=33).chain([63, 64, 65, 1000, PUBLICATION_RECORDS_MAX]) {
            let records = records(count);
            let root = root(&records).unwrap();
            let signed = u16::try_from(count).unwrap();
            for index in (0..signed).step_by(count / 33 + 1) {
                let proof = proof(&records, index).unwrap();
                assert!(proof.path.len() <= PROOF_HASHES_MAX);
                let record = &records[usize::from(index)];
                assert!(leads(record, &proof, &root, signed), "{index} of {count}");
                let elsewhere = Proof { index: (index + 1) % signed, ..proof.clone() };
                assert!(count == 1 || !leads(record, &elsewhere, &root, signed));
                let beyond = Proof { index: signed, ..proof.clone() };
                assert!(!leads(record, &beyond, &root, signed));
                let mut longer = proof.clone();
                longer.path.push([0; 32]);
                assert!(!leads(record, &longer, &root, signed));
                let mut shorter = proof.clone();
                assert!(shorter.path.pop().is_none() || !leads(record, &shorter, &root, signed));
                let other = RecordHash::from_bytes([0; 32]);
                assert!(!leads(&other, &proof, &root, signed));
            }
        }
        assert_eq!(root(&[]), None);
        assert_eq!(proof(&records(3), 3), None);
    }

    #[test]
    fn many_proofs_are_those_that_are_made_one_by_one() {
        for count in [1, 2, 3, 7, 33, 100] {
            let (records, signed) = (records(count), u16::try_from(count).unwrap());
            let root = root(&records).unwrap();
            // In any order, and one twice.
            let indexes: Vec<_> = (0..signed).rev().chain([0]).collect();
            let proofs = proofs(&records, &indexes).unwrap();
            assert_eq!(proofs.len(), indexes.len());
            for (proof, index) in proofs.iter().zip(indexes) {
                assert_eq!(Some(proof), super::proof(&records, index).as_ref());
                assert!(leads(&records[usize::from(index)], proof, &root, signed), "{index} of {count}");
            }
        }
        assert_eq!(proofs(&records(3), &[0, 3]), None);
        assert_eq!(proofs(&records(3), &[]), Some(Vec::new()));
    }

    /// A doubled last record must not give the same root, else two lists would have one.
    #[test]
    fn an_odd_list_is_not_the_list_with_its_last_record_doubled() {
        for count in [1, 3, 5, 6, 7, 11, 1023] {
            let mut list = records(count);
            let odd = root(&list);
            list.push(list[count - 1]);
            assert_ne!(root(&list), odd, "{count}");
        }
    }

    #[test]
    fn an_inner_node_is_no_record_of_a_list_of_this_count() {
        let list = records(4);
        let whole = root(&list).unwrap();
        let inner = RecordHash::from_bytes(node(list[0].as_bytes(), list[1].as_bytes()));
        let beside = node(list[2].as_bytes(), list[3].as_bytes());
        let forged = Proof { index: 0, path: vec![beside] };
        assert!(leads(&inner, &forged, &whole, 2), "so the count has to be signed");
        assert!(!leads(&inner, &forged, &whole, 4));
    }

    #[test]
    fn roots_stay_as_they_are() {
        let fixed = |count: u8| -> Vec<_> { (0..count).map(|at| RecordHash::from_bytes([at; 32])).collect() };
        assert_eq!(root(&fixed(1)).unwrap(), MerkleRoot::from_bytes([0; 32]));
        assert_eq!(root(&fixed(2)).unwrap().short(), "s7mkomg");
        assert_eq!(root(&fixed(3)).unwrap().short(), "mqg57mp");
        assert_eq!(root(&fixed(7)).unwrap().short(), "dkdd7fa");
    }
}
