//! Whatever is changed, cut, dropped, repeated or swapped on the way: both ends have an error or the truth, never a message
//! that nobody sent (D1, D5, D6).

use std::ops::ControlFlow::{Break, Continue};

use shoal_net::{NetError, Secured, WireError};
use shoal_proto::frame::FrameError;
use shoal_proto::limits::FRAME_BODY_BYTES_HELLO_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::between::{Does, Record, Seen, between, nothing};
use crate::{answer, call, frame, identity, listener, places};

type Both = (Result<Secured, NetError>, Result<Secured, NetError>);

/// A handshake of which somebody between changes something. Who is kept waiting hangs up in time: the clock of these tests
/// goes on whenever nothing happens.
async fn handshake(with_caller: Does, with_called: Does) -> Both {
    let (listener, target) = listener().await;
    let (way, _seen) = between(target, with_caller, with_called).await;
    tokio::join!(call(way), answer(listener))
}

/// What goes by in a whole handshake.
async fn lengths() -> (usize, usize) {
    let (listener, target) = listener().await;
    let (way, seen) = between(target, nothing(), nothing()).await;
    let both = tokio::join!(call(way), answer(listener));
    drop((both.0.unwrap(), both.1.unwrap()));
    let seen = seen.await.unwrap();
    (Seen::bytes(&seen.caller).len(), Seen::bytes(&seen.called).len())
}

/// Changes the byte at this place of a stream.
fn flipped(place: usize) -> Does {
    let mut at = 0;
    Box::new(move |_, mut record: Record| {
        if let Some(byte) = place.checked_sub(at).and_then(|within| record.get_mut(within)) {
            *byte ^= 0x40;
        }
        at += record.len();
        Continue(vec![record])
    })
}

/// Lets so many bytes of a stream pass.
fn cut(place: usize) -> Does {
    let mut left = place;
    Box::new(move |_, mut record: Record| {
        let is_last = record.len() >= left;
        record.truncate(left);
        left -= record.len();
        if is_last { Break(vec![record]) } else { Continue(vec![record]) }
    })
}

/// Neither end believes something that is not so.
async fn nobody_is_deceived((called, accepted): Both, what: &str) -> bool {
    let is_harmless = called.is_ok() && accepted.is_ok();
    if let (Ok(called), Ok(accepted)) = (&called, &accepted) {
        assert_eq!(called.exporter, accepted.exporter, "{what}");
    }
    if let Ok(accepted) = &accepted {
        assert_eq!(accepted.device, identity(1).device(), "{what}");
    }
    if let Ok(called) = called {
        assert_eq!(called.device, identity(2).device(), "{what}");
        if accepted.is_err() {
            // Who calls speaks last: it hears a moment later that the other end has refused.
            let (mut hears, _says) = called.split();
            assert!(!matches!(hears.next().await, Ok(Some(_))), "{what}");
        }
    }
    is_harmless
}

#[tokio::test(start_paused = true)]
async fn d6_a_byte_changed_anywhere_in_a_handshake_ends_it() {
    let (from_caller, from_called) = lengths().await;
    let mut harmless = Vec::new();
    for place in places(from_caller) {
        if nobody_is_deceived(handshake(flipped(place), nothing()).await, &format!("caller {place}")).await {
            harmless.push(place);
        }
    }
    // The version in the header of the very first record, which all must pass over (RFC 8446, 5.1), and so in the
    // record after it that stands there for the sake of middle boxes.
    assert!(harmless.iter().all(|place| *place < 3 || *place > 1000) && harmless.len() <= 8, "{harmless:?}");
    let mut harmless = Vec::new();
    for place in places(from_called) {
        if nobody_is_deceived(handshake(nothing(), flipped(place)).await, &format!("called {place}")).await {
            harmless.push(place);
        }
    }
    assert!(harmless.len() <= 8, "{harmless:?}");
}

#[tokio::test(start_paused = true)]
async fn d1_a_handshake_that_is_cut_anywhere_ends() {
    let (from_caller, from_called) = lengths().await;
    for place in places(from_caller) {
        let both = handshake(cut(place), nothing()).await;
        assert!(both.1.is_err(), "caller {place}");
        nobody_is_deceived(both, &format!("caller {place}")).await;
    }
    for place in places(from_called) {
        let both = handshake(nothing(), cut(place)).await;
        assert!(both.0.is_err(), "called {place}");
        nobody_is_deceived(both, &format!("called {place}")).await;
    }
}

#[tokio::test]
async fn one_byte_at_a_time_is_as_good_as_any_other_way() {
    let singly =
        || -> Does { Box::new(|_, record| Continue(record.into_iter().map(|byte| vec![byte]).collect())) };
    let (called, accepted) = handshake(singly(), singly()).await;
    let ((_keep, says), (mut hears, _answers)) = (called.unwrap().split(), accepted.unwrap().split());
    says.push(frame(1, b"slowly"));
    assert_eq!(hears.next().await.unwrap().unwrap().body, b"slowly");
}

/// Whether this is what was sent from the first frame on, and no more than this many: what came together with something
/// wrong may be lost with it.
fn is_beginning(heard: &[Vec<u8>], most: usize) -> bool {
    heard.len() <= most && bodies(&[1, 2, 3]).starts_with(heard)
}

/// Three frames in a record each, of which somebody between makes something else. What is heard of them.
async fn heard(mut does: Does) -> (Vec<Vec<u8>>, Result<(), WireError>) {
    let (listener, target) = listener().await;
    // What belongs to the handshake passes: hello, the record for middle boxes, key and word.
    let mut handshake_records = None;
    let with_caller: Does = Box::new(move |number, record: Record| {
        // Frames are of 200 bytes and more; nothing in the last flight of a caller is as long as that behind its key.
        let is_frame = record.len() > 400 && number > 0;
        match handshake_records {
            None if is_frame => {
                handshake_records = Some(number);
                does(0, record)
            }
            None => Continue(vec![record]),
            Some(first) => does(number - first, record),
        }
    });
    let (way, _seen) = between(target, with_caller, nothing()).await;
    let (called, accepted) = tokio::join!(call(way), answer(listener));
    let ((mut replies, says), (mut hears, answers)) = (called.unwrap().split(), accepted.unwrap().split());
    let tells = async {
        for number in [1, 2, 3] {
            says.push(frame(number, &[number; 400]));
            // Each in a record of its own.
            while says.waiting() > 0 {
                tokio::task::yield_now().await;
            }
        }
        says.close();
        while let Ok(Some(_)) = replies.next().await {}
    };
    let listens = async {
        let mut heard = Vec::new();
        let end = loop {
            match hears.next().await {
                Ok(Some(frame)) => heard.push(frame.body.to_vec()),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop((hears, answers));
        (heard, end)
    };
    tokio::join!(tells, listens).1
}

fn bodies(numbers: &[u8]) -> Vec<Vec<u8>> {
    numbers.iter().map(|number| vec![*number; 400]).collect()
}

#[tokio::test]
async fn d5_d6_records_that_are_repeated_dropped_swapped_or_changed_end_the_connection() {
    let (all, end) = heard(nothing()).await;
    assert!(end.is_ok() && all == bodies(&[1, 2, 3]));
    let repeated: Does = Box::new(|number, record| {
        Continue(if number == 1 { vec![record.clone(), record] } else { vec![record] })
    });
    let (all, end) = heard(repeated).await;
    assert!(matches!(end, Err(WireError::Broken(_))) && is_beginning(&all, 2), "{end:?}");
    let dropped: Does = Box::new(|number, record| Continue(if number == 1 { vec![] } else { vec![record] }));
    let (all, end) = heard(dropped).await;
    assert!(matches!(end, Err(WireError::Broken(_))) && is_beginning(&all, 1), "{end:?}");
    let mut held = None;
    let swapped: Does = Box::new(move |number, record| {
        if number == 0 {
            held = Some(record);
            return Continue(vec![]);
        }
        Continue([Some(record), held.take()].into_iter().flatten().collect())
    });
    let (all, end) = heard(swapped).await;
    assert!(matches!(end, Err(WireError::Broken(_))) && all.is_empty(), "{end:?}");
    for place in places(420) {
        let flipped: Does = Box::new(move |number, mut record| {
            if number == 1 && place < record.len() {
                record[place] ^= 1;
            }
            Continue(vec![record])
        });
        let (all, end) = heard(flipped).await;
        // The first three bytes of a record, type and version, are the same for all and say nothing: rustls puts what they
        // must be into what is verified, and does not look at them.
        let is_unheard = place < 3 && end.is_ok() && all == bodies(&[1, 2, 3]);
        assert!(is_unheard || (end.is_err() && is_beginning(&all, 1)), "{place}: {end:?}");
    }
}

#[tokio::test]
async fn d1_a_connection_that_is_cut_is_not_taken_for_one_that_is_closed() {
    // The word that ends a connection is the fourth record.
    for last in 0..4 {
        let cut: Does = Box::new(
            move |number, record| if number < last { Continue(vec![record]) } else { Break(vec![]) },
        );
        let (all, end) = heard(cut).await;
        assert!(matches!(end, Err(WireError::CutOff)), "{last}: {end:?}");
        assert_eq!(all.len(), last.min(3));
    }
}

/// Frames that no program of ours sends, from an end that has proved its key.
#[tokio::test]
async fn d2_d8_frames_that_may_not_be_end_the_connection() {
    for (says, is_expected) in [
        (vec![0, 0, 0, 0], FrameError::TooShort(0)),
        (vec![0, 0, 0, 4, 1, 2, 3, 4], FrameError::TooShort(4)),
        (vec![0x80, 0, 0, 0], too_long(1 << 31)),
        (vec![0xff; 4], too_long(u32::MAX)),
        // Before anything was allowed a frame is small.
        (frame(1, &[0; FRAME_BODY_BYTES_HELLO_MAX + 1]), too_long(1 + 5 + 1024)),
    ] {
        let (listener, target) = listener().await;
        let (called, accepted) = tokio::join!(call(target), answer(listener));
        let ((_keep, speaks), (mut hears, _answers)) = (called.unwrap().split(), accepted.unwrap().split());
        speaks.push(frame(7, b"good"));
        speaks.push(says);
        assert_eq!(hears.next().await.unwrap().unwrap().kind, 7);
        let error = hears.next().await.unwrap_err();
        assert!(matches!(&error, WireError::Frame(frame) if *frame == is_expected), "{error:?}");
    }
    let (listener, target) = listener().await;
    let (called, accepted) = tokio::join!(call(target), answer(listener));
    let ((_keep, speaks), (mut hears, _answers)) = (called.unwrap().split(), accepted.unwrap().split());
    let whole = frame(7, b"half of it");
    speaks.push(whole[..12].to_vec());
    speaks.close();
    assert!(matches!(hears.next().await, Err(WireError::CutOff)));
}

fn too_long(length: u32) -> FrameError {
    FrameError::TooLong { length, max: FRAME_BODY_BYTES_HELLO_MAX + 5 }
}

/// There is nothing else that a call could fall back to (T2).
#[tokio::test]
async fn t2_a_call_that_is_refused_is_not_repeated_in_another_way() {
    let (listener, target) = listener().await;
    let refuses = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = [0; 5];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(first[..3], [0x16, 3, 1]);
        // "I speak TLS 1.2 only."
        stream.write_all(&[0x15, 3, 1, 0, 2, 2, 70]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        drop(stream);
        // Nobody calls a second time.
        let again = tokio::time::timeout(std::time::Duration::from_millis(100), listener.accept()).await;
        assert!(again.is_err());
        rest
    };
    let (called, _rest) = tokio::join!(call(target), refuses);
    assert!(matches!(called.unwrap_err(), NetError::Handshake { .. } | NetError::BrokenOff { .. }));
}
