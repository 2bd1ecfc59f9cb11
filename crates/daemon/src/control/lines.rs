//! Lines of bounded length over a socket.
//!
//! Promise: a line is given whole or not at all, and no more than its bound is ever held; what a line was too long for is
//! never read.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line that a client may send: room for an invite and more.
pub(super) const CALL_BYTES_MAX: usize = 128 * 1024;

/// The longest line that the daemon may send: room for a status with all the problems that it lists.
pub(super) const REPLY_BYTES_MAX: usize = 64 << 20;

/// So much is read at once.
const READ_BYTES: usize = 8 * 1024;

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    from: R,
    at_most: usize,
    /// What was read and not given yet.
    read: Vec<u8>,
    /// So much of it has no line's end in it.
    searched: usize,
}

/// Why there is no next line.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    /// The socket breaks.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Longer than lines may be.
    #[error("a line of more than {0} bytes")]
    TooLong(usize),
    /// The other end has ended in the middle of a line.
    #[error("a line that was cut short")]
    CutShort,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(from: R, at_most: usize) -> Self {
        Self { from, at_most, read: Vec::new(), searched: 0 }
    }

    /// Whether a line has begun to come, and is not whole yet.
    pub(super) fn has_begun(&self) -> bool {
        !self.read.is_empty()
    }

    /// The next line, without its end; `None`: there are no more. Nothing is lost if it is not waited for to the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        loop {
            if let Some(line) = self.taken()? {
                return Ok(Some(line));
            }
            self.read.reserve(READ_BYTES);
            match (self.from.read_buf(&mut self.read).await?, self.read.is_empty()) {
                (0, true) => return Ok(None),
                (0, false) => return Err(LineError::CutShort),
                _ => {}
            }
        }
    }

    /// Reads until something has come, or nothing more will.
    pub(super) async fn begin(&mut self) -> io::Result<()> {
        if self.read.is_empty() {
            self.read.reserve(READ_BYTES);
            self.from.read_buf(&mut self.read).await?;
        }
        Ok(())
    }

    fn taken(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        let end = self.read[self.searched..].iter().position(|byte| *byte == b'\n');
        let end = end.map(|end| self.searched + end);
        self.searched = self.read.len();
        if end.unwrap_or(self.read.len()) > self.at_most {
            return Err(LineError::TooLong(self.at_most));
        }
        let Some(end) = end else { return Ok(None) };
        let rest = self.read.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.read, rest);
        self.searched = 0;
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn b4_lines_come_whole_however_they_are_cut() {
        let text = b"one\r\n\ntwo\nthree";
        for cut in 1..text.len() {
            let (mut near, far) = tokio::io::duplex(64);
            let mut lines = Lines::new(far, 5);
            near.write_all(&text[..cut]).await.unwrap();
            let rest = text[cut..].to_vec();
            tokio::spawn(async move { near.write_all(&rest).await.unwrap() });
            for expected in ["one", "", "two"] {
                assert_eq!(lines.next().await.unwrap().unwrap(), expected.as_bytes());
            }
            assert!(matches!(lines.next().await, Err(LineError::CutShort)));
        }
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_not_waited_for() {
        let (mut near, far) = tokio::io::duplex(64);
        let mut lines = Lines::new(far, 5);
        near.write_all(b"12345\n123456").await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), b"12345");
        assert!(matches!(lines.next().await, Err(LineError::TooLong(5))));
    }
}
