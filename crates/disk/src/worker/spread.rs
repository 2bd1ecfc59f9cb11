//! Work on many things at once, with the answers in the order of the things.
//!
//! Promise: with one thread it is a loop, and nothing else. With more, each thing is still worked on once, and who asked
//! does not go on before all threads have ended.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does the work on each of `things`, in `threads` threads, this one among them.
///
/// Each thread takes the next of the things that are left, as many of them as `portion` says, in order; `work` makes what
/// it works with. After an error no more are taken; the first one, in the order of things, is the answer.
pub(super) fn spread<T, R, E, W>(
    things: &[T],
    threads: usize,
    portion: impl Fn(&[T]) -> usize + Sync,
    work: impl Fn() -> W + Sync,
) -> Result<Vec<R>, E>
where
    T: Sync,
    R: Send,
    E: Send,
    W: FnMut(&T) -> Result<R, E>,
{
    let first = portion(things);
    if threads < 2 || first >= things.len() {
        return things.iter().map(work()).collect();
    }
    let left = Mutex::new(things);
    let done = Mutex::new(Vec::new());
    let do_some = || {
        let mut work = work();
        loop {
            let (at, taken) = {
                let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
                if left.is_empty() {
                    return;
                }
                let at = things.len() - left.len();
                let (taken, others) = left.split_at(portion(&left).clamp(1, left.len()));
                *left = others;
                (at, taken)
            };
            let answers: Result<Vec<R>, E> = taken.iter().map(&mut work).collect();
            if answers.is_err() {
                *left.lock().unwrap_or_else(PoisonError::into_inner) = &[];
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, answers));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Without it the others do its part.
            if thread::Builder::new().name("disk".into()).spawn_scoped(scope, do_some).is_err() {
                break;
            }
        }
        do_some();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    let mut all = Vec::with_capacity(things.len());
    for (_, answers) in done {
        all.extend(answers?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order_and_each_thing_once() {
        for threads in [1, 2, 5] {
            for portion in [1, 3, 1000] {
                let things: Vec<u32> = (0..100).collect();
                let doubled = spread(&things, threads, |_| portion, || |thing: &u32| Ok::<_, ()>(thing * 2));
                assert_eq!(doubled, Ok(things.iter().map(|thing| thing * 2).collect()));
                let refused = spread(
                    &things,
                    threads,
                    |_| portion,
                    || |thing: &u32| if *thing == 60 || *thing == 63 { Err(*thing) } else { Ok(()) },
                );
                assert_eq!(refused, Err(60), "{threads} threads, {portion} at a time");
                assert_eq!(spread(&[], threads, |_| portion, || |(): &()| Ok::<_, ()>(())), Ok(vec![]));
            }
        }
    }
}
