use std::sync::mpsc::channel;

use shoal_proto::limits::FRAME_BODY_BYTES_MAX;

use super::*;
use crate::testing::{frame, pair};

#[tokio::test]
async fn frames_come_as_they_were_sent() {
    let (one, two) = pair().await;
    let ((mut incoming, outgoing), (mut back, answers)) = (two.split(), one.split());
    incoming.allow(FRAME_BODY_BYTES_MAX);
    let large: Vec<u8> = (0..FRAME_BODY_BYTES_MAX).map(|at| u8::try_from(at % 251).unwrap()).collect();
    for (kind, body) in [(1, &b""[..]), (2, b"small"), (3, &large), (4, &[4; 100])] {
        answers.push(frame(kind, body));
    }
    for (kind, body) in [(1, &b""[..]), (2, b"small"), (3, &large), (4, &[4; 100])] {
        let came = incoming.next().await.unwrap().unwrap();
        assert_eq!((came.kind, came.body), (kind, body));
    }
    outgoing.push(frame(9, b"back"));
    assert_eq!(back.next().await.unwrap().unwrap().body, b"back");
    answers.close();
    assert!(incoming.next().await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_pushed_after_the_end_is_not_sent() {
    let (one, two) = pair().await;
    let ((_back, outgoing), (mut incoming, _answers)) = (one.split(), two.split());
    outgoing.push(frame(1, b"before"));
    outgoing.close();
    outgoing.push(frame(2, b"after"));
    assert_eq!(incoming.next().await.unwrap().unwrap().body, b"before");
    assert!(incoming.next().await.unwrap().is_none());
}

#[tokio::test]
async fn who_ends_is_told_at_once_and_so_is_the_other_end() {
    let (one, two) = pair().await;
    let ((mut back, outgoing), (mut incoming, _answers)) = (one.split(), two.split());
    let (came, ()) = tokio::join!(back.next(), async { outgoing.end() });
    assert!(matches!(came, Err(WireError::Over(Over::Ended))));
    drop((back, outgoing));
    assert!(matches!(incoming.next().await, Err(WireError::CutOff | WireError::Broken(_))));
}

#[tokio::test]
async fn i30_who_reads_nothing_has_a_bound() {
    let (one, two) = pair().await;
    let ((mut back, outgoing), _silent) = (one.split(), two.split());
    let large = Bytes::from(frame(1, &[0; FRAME_BODY_BYTES_MAX]));
    // More than the system's buffers, then more than waits here.
    for _ in 0..WAITING_BYTES_MAX.div_ceil(FRAME_BODY_BYTES_MAX) + 16 {
        outgoing.push(large.clone());
    }
    assert!(matches!(back.next().await, Err(WireError::Over(Over::Overfull))));
    assert_eq!(outgoing.waiting(), 0);
}

#[tokio::test]
async fn it_is_told_when_there_is_room_again() {
    let (one, two) = pair().await;
    let ((_back, outgoing), (mut incoming, _answers)) = (one.split(), two.split());
    incoming.allow(FRAME_BODY_BYTES_MAX);
    let (tell, told) = channel();
    let handle = Outgoing(Arc::clone(&outgoing.0));
    outgoing.when_drained(move || tell.send(handle.waiting()).unwrap());
    let body = vec![7; FRAME_BODY_BYTES_MAX];
    for _ in 0..8 {
        outgoing.push(frame(1, &body));
    }
    assert!(outgoing.waiting() > 0);
    for _ in 0..8 {
        assert_eq!(incoming.next().await.unwrap().unwrap().body, body);
    }
    outgoing.push(frame(2, b"end"));
    assert_eq!(incoming.next().await.unwrap().unwrap().kind, 2);
    let told: Vec<usize> = told.try_iter().collect();
    assert!(told.iter().all(|waiting| *waiting < DRAINED_BYTES) && told.contains(&0), "{told:?}");
}
