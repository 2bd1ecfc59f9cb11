//! How fast content is cut: `cargo bench -p shoal-proto --bench cut`.

use divan::Bencher;
use divan::counter::BytesCount;
use shoal_proto::chunk::ChunkList;
use shoal_proto::cut::{chunks, segments};
use shoal_proto::hash::SegmentId;

const BYTES: usize = 64 << 20;

fn main() {
    divan::main();
}

/// What is cut.
#[derive(Debug)]
enum Data {
    Random,
    Zeros,
    Text,
}

const ALL: [Data; 3] = [Data::Random, Data::Zeros, Data::Text];

#[divan::bench(args = ALL)]
fn into_segments(bencher: Bencher<'_, '_>, data: &Data) {
    let bytes = bytes(data);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| segments(&bytes).count());
}

#[divan::bench(args = ALL)]
fn into_chunks(bencher: Bencher<'_, '_>, data: &Data) {
    let bytes = bytes(data);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| chunks(&bytes).count());
}

/// Cutting and hashing; all bytes as if they were one segment.
#[divan::bench]
fn into_a_chunk_list(bencher: Bencher<'_, '_>) {
    let bytes = bytes(&Data::Random);
    let segment = SegmentId::from_bytes([1; 32]);
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| ChunkList::of(&segment.into(), &bytes));
}

fn bytes(data: &Data) -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    match data {
        Data::Zeros => {}
        Data::Random => blake3::Hasher::new().update(b"bench").finalize_xof().fill(&mut bytes),
        // Words of small letters, some more common than others.
        Data::Text => {
            bytes = self::bytes(&Data::Random);
            for byte in &mut bytes {
                let common = (*byte >> 4).min(*byte & 15);
                *byte = if common == 3 { b' ' } else { b'a' + common };
            }
        }
    }
    bytes
}
