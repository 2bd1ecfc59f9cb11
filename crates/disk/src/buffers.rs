//! Buffers that are used again, for what is read to be sent.
//!
//! Promise: what comes back is given out again before the system is asked for more, and no more than eight wait for
//! that. A fresh buffer of this size costs as much as reading it: the allocator gives it back to the system each time, which
//! hands out each of its pages anew and zeroed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shoal_proto::limits::FRAME_CONTENT_BYTES_MAX;

/// So many wait to be used again: what is read and sent ahead on one connection.
const SPARE_MAX: usize = 8;

/// Less than this is got anew each time.
const BYTES_MIN: usize = 64 << 10;

/// Buffers for who reads and who sends; a handle that can be cloned.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer that comes back when it is dropped.
#[derive(Debug)]
pub struct Lent {
    bytes: Vec<u8>,
    from: Buffers,
}

impl Buffers {
    /// A buffer of this length, with anything in it.
    #[must_use]
    pub fn take(&self, length: usize) -> Vec<u8> {
        if !(BYTES_MIN..=FRAME_CONTENT_BYTES_MAX).contains(&length) {
            return vec![0; length];
        }
        let spare = self.spare().pop();
        let mut bytes = spare.unwrap_or_else(|| vec![0; FRAME_CONTENT_BYTES_MAX]);
        bytes.truncate(length);
        bytes
    }

    /// Lends a buffer to who only reads it; it need not be from here.
    #[must_use]
    pub fn lend(&self, bytes: Vec<u8>) -> Lent {
        Lent { bytes, from: self.clone() }
    }

    fn give_back(&self, mut bytes: Vec<u8>) {
        if bytes.capacity() != FRAME_CONTENT_BYTES_MAX {
            return;
        }
        bytes.resize(FRAME_CONTENT_BYTES_MAX, 0);
        let mut spare = self.spare();
        if spare.len() < SPARE_MAX {
            spare.push(bytes);
        }
    }

    /// Whole at any moment.
    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.from.give_back(core::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_came_back_is_given_out_again() {
        let buffers = Buffers::default();
        for length in [FRAME_CONTENT_BYTES_MAX, BYTES_MIN, FRAME_CONTENT_BYTES_MAX] {
            let bytes = buffers.take(length);
            assert_eq!((bytes.len(), buffers.spare().len()), (length, 0));
            let (at, lent) = (bytes.as_ptr(), buffers.lend(bytes));
            assert_eq!(lent.as_ref().len(), length);
            drop(lent);
            assert_eq!(buffers.spare().iter().map(|spare| spare.as_ptr()).collect::<Vec<_>>(), [at]);
        }
    }

    #[test]
    fn few_are_kept_and_none_of_another_size() {
        let buffers = Buffers::default();
        for length in [0, BYTES_MIN - 1, FRAME_CONTENT_BYTES_MAX + 1] {
            assert_eq!(buffers.take(length).len(), length);
            drop(buffers.lend(vec![1; length]));
        }
        assert_eq!(buffers.spare().len(), 0);
        let out: Vec<_> = (0..=SPARE_MAX).map(|_| buffers.lend(buffers.take(BYTES_MIN))).collect();
        drop(out);
        assert_eq!(buffers.spare().len(), SPARE_MAX);
    }
}
