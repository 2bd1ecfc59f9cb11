//! What somebody who listens in has seen: lengths, and noise.

use shoal_proto::limits::FRAME_BODY_BYTES_MAX;

use crate::between::{Seen, between, nothing};
use crate::{answer, call, frame, identity, listener};

/// Whether eight bytes in a row of `secret` stand somewhere in `seen`.
fn shows(seen: &[u8], secret: &[u8]) -> bool {
    let parts: std::collections::HashSet<&[u8]> = secret.windows(8).collect();
    seen.windows(8).any(|window| parts.contains(window))
}

#[test]
fn what_is_looked_for_would_be_found() {
    assert!(shows(b"...a secret.txt...", b"very secret.txt"));
    assert!(!shows(b"...a secret txt...", b"very secret.txt"));
}

#[tokio::test]
async fn t1_i28_no_name_no_content_no_key_is_seen() {
    let (listener, target) = listener().await;
    let (way, seen) = between(target, nothing(), nothing()).await;
    let (called, accepted) = tokio::join!(call(way), answer(listener));
    let (called, accepted) = (called.unwrap(), accepted.unwrap());
    let exporter = called.exporter;
    let ((mut hears, says), (mut listens, answers)) = (called.split(), accepted.split());
    let name = b"Documents/the plan for 2027.ods";
    let content = b"All of it is written here, in words that compress well. ".repeat(2000);
    listens.allow(FRAME_BODY_BYTES_MAX);
    says.push(frame(1, name));
    says.push(frame(2, &content));
    assert_eq!(listens.next().await.unwrap().unwrap().body, name);
    assert_eq!(listens.next().await.unwrap().unwrap().body, content);
    answers.push(frame(3, name));
    assert_eq!(hears.next().await.unwrap().unwrap().body, name);
    says.close();
    answers.close();
    drop((hears, says, listens, answers));
    let seen = seen.await.unwrap();
    let all = [Seen::bytes(&seen.caller), Seen::bytes(&seen.called)].concat();
    assert!(all.len() > content.len());
    for number in [1, 2] {
        assert!(!shows(&all, identity(number).device().as_bytes()), "device {number}");
    }
    assert!(!shows(&all, name) && !shows(&all, &content) && !shows(&all, &exporter));
    // Behind the hellos it is noise: each byte as often as any other, within what chance allows.
    let records = seen.caller.iter().filter(|record| record[0] == 0x17);
    let noise: Vec<u8> = records.flat_map(|record| record[5..].to_vec()).collect();
    let mut counts = [0_u32; 256];
    for byte in &noise {
        counts[usize::from(*byte)] += 1;
    }
    let expected = noise.len() / 256;
    assert!(expected > 400, "enough to tell");
    let expected = u32::try_from(expected).unwrap();
    // Six standard deviations.
    let far = 6 * expected.isqrt();
    assert!(counts.iter().all(|count| count.abs_diff(expected) < far), "{counts:?}");
}
