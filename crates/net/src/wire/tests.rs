//! Frames between two ends that have proved their keys.

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

#[tokio::test]
async fn i30_who_takes_nothing_is_hung_up_on_after_a_while() {
    let (one, two) = pair().await;
    let ((mut back, outgoing), _silent) = (one.split(), two.split());
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    for _ in 0..32 {
        outgoing.push(frame(1, &[0; FRAME_BODY_BYTES_MAX]));
    }
    assert!(matches!(back.next().await, Err(WireError::Over(Over::Stalled))));
    assert_eq!(began.elapsed().as_secs(), STALLED.as_secs());
}

#[tokio::test]
async fn who_does_not_hang_up_is_not_waited_for() {
    let (one, two) = pair().await;
    let ((mut back, outgoing), (mut incoming, _answers)) = (one.split(), two.split());
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    outgoing.close();
    assert!(incoming.next().await.unwrap().is_none());
    assert!(matches!(back.next().await, Err(WireError::Over(Over::Closed))));
    assert_eq!(began.elapsed().as_secs(), LINGER.as_secs());
}

#[tokio::test]
async fn what_was_said_before_the_end_is_heard_by_who_is_still_sending() {
    let (one, two) = pair().await;
    let ((mut back, outgoing), (incoming, answers)) = (one.split(), two.split());
    answers.push(frame(1, b"goodbye"));
    answers.close();
    drop((incoming, answers));
    for _ in 0..64 {
        outgoing.push(frame(2, &[0; FRAME_BODY_BYTES_MAX / 8]));
    }
    assert_eq!(back.next().await.unwrap().unwrap().body, b"goodbye");
}

#[tokio::test]
async fn the_last_handle_closes() {
    let (one, two) = pair().await;
    let ((_back, outgoing), (mut incoming, _answers)) = (one.split(), two.split());
    let another = outgoing.clone();
    drop(outgoing);
    another.push(frame(1, b"still there"));
    assert_eq!(incoming.next().await.unwrap().unwrap().body, b"still there");
    drop(another);
    assert!(incoming.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_read_that_is_given_up_loses_nothing() {
    let (one, two) = pair().await;
    let ((_back, outgoing), (mut incoming, _answers)) = (one.split(), two.split());
    let bytes = frame(1, &[7; 500]);
    for piece in bytes.chunks(100) {
        assert!(timeout(std::time::Duration::from_millis(5), incoming.next()).await.is_err());
        outgoing.push(piece.to_vec());
    }
    assert_eq!(incoming.next().await.unwrap().unwrap().body, [7; 500]);
}

#[tokio::test]
async fn an_idle_connection_keeps_no_buffer() {
    let (one, two) = pair().await;
    let ((_back, outgoing), (mut incoming, _answers)) = (one.split(), two.split());
    incoming.allow(FRAME_BODY_BYTES_MAX);
    outgoing.push(frame(1, &[7; FRAME_BODY_BYTES_MAX]));
    assert!(incoming.next().await.unwrap().is_some());
    assert!(timeout(std::time::Duration::from_millis(20), incoming.next()).await.is_err());
    assert_eq!(incoming.frames.room(0).len(), 0);
    assert!(incoming.frames.is_empty() && incoming.read_bytes == READ_BYTES_MIN);
}
