//! What comes from the server, made such that the client can read it.
//!
//! Names, keys and properties of a message are bytes to the server, and text to the client, which ends the connection over any that is
//! none; arrays in arrays it reads by calling itself, until the stack ends, and with it the process. The message stays, so
//! whoever consumes it next ends as well. Here such bytes become others, as many as they were, before the client sees them.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

/// The kind of a frame, its channel, and how long it is; behind that, one byte ends it.
const HEAD: usize = 7;
/// The kinds of a frame that says something, and of one that says what a message is.
const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
/// The class and number of the method that brings a message.
const DELIVER: [u8; 4] = [0, 60, 0, 60];
/// No frame that says something is as long: one that claims to be is passed on, for the client to refuse.
const LONGEST: usize = 16 * 1024 * 1024;
/// How much is read at once.
const PIECE: usize = 32 * 1024;
/// How deep arrays and tables lie within one another that are read; what is in those is left as bytes.
const DEEPEST: u8 = 16;

/// A stream of frames.
#[derive(Debug)]
pub(super) struct Sieve<S> {
    inner: S,
    held: Vec<u8>,
    /// How much of that has come; the rest is room.
    came: usize,
    /// What was given away.
    given: usize,
    /// Up to there it can be given away.
    sifted: usize,
    /// How much of the frame that is being given away has not come yet.
    passing: usize,
    has_ended: bool,
}

impl<S> Sieve<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, held: Vec::new(), came: 0, given: 0, sifted: 0, passing: 0, has_ended: false }
    }

    /// Looks at what has come.
    fn sift(&mut self) {
        loop {
            let rest = &mut self.held[self.sifted..self.came];
            let passes = rest.len().min(self.passing);
            self.passing -= passes;
            self.sifted += passes;
            let frame = &mut rest[passes..];
            let &[kind, _, _, a, b, c, d, ..] = &*frame else { return };
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let whole = length.saturating_add(HEAD + 1);
            if matches!(kind, METHOD | CONTENT_HEADER) && whole <= LONGEST {
                let Some(frame) = frame.get_mut(HEAD..whole) else { return };
                let _ = if kind == METHOD { Rest(frame).method() } else { Rest(frame).content_header() };
            }
            self.passing = whole;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sieve<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        let this = &mut *self;
        while this.given == this.sifted && !this.has_ended {
            this.held.copy_within(this.given..this.came, 0);
            this.came -= this.given;
            (this.given, this.sifted) = (0, 0);
            if this.held.len() < this.came + PIECE {
                this.held.resize(this.came + PIECE, 0);
            }
            let read = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut this.held[this.came..]))?;
            this.came += read;
            this.has_ended = read == 0;
            this.sift();
        }
        // The part of a frame that comes before the end is nothing to look at.
        let most = if this.has_ended { this.came } else { this.sifted };
        let ready = &this.held[this.given..most];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        this.given += count;
        this.sifted = this.sifted.max(this.given);
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sieve<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// What is left to be read. `None` where it ends too soon, or has a value of a kind that there is not.
struct Rest<'a>(&'a mut [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a mut [u8]> {
        let (taken, rest) = std::mem::take(&mut self.0).split_at_mut_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn long(&mut self) -> Option<&'a mut [u8]> {
        let length = self.take(4)?;
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        self.take(usize::try_from(length).ok()?)
    }

    /// A text of up to 255 bytes.
    fn short(&mut self) -> Option<()> {
        let length = usize::from(self.take(1)?[0]);
        let text = self.take(length)?;
        if str::from_utf8(text).is_err() {
            text.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
        }
        Some(())
    }

    fn method(mut self) -> Option<()> {
        if *self.take(DELIVER.len())? == DELIVER {
            // To whom.
            self.short()?;
            // Its number, and whether it comes again.
            self.take(9)?;
            // By which exchange, and with which key.
            self.short()?;
            self.short()?;
        }
        Some(())
    }

    fn content_header(mut self) -> Option<()> {
        // The class, nothing, the length of the body.
        self.take(12)?;
        let flags = self.take(2)?;
        let flags = u16::from_be_bytes([flags[0], flags[1]]);
        for property in 0..14 {
            match property {
                _ if flags & (0x8000 >> property) == 0 => {}
                2 => Self(self.long()?).table(DEEPEST)?,
                // How it is delivered, and its priority.
                3 | 4 => drop(self.take(1)?),
                // When it was sent.
                9 => drop(self.take(8)?),
                _ => self.short()?,
            }
        }
        Some(())
    }

    fn table(mut self, deepest: u8) -> Option<()> {
        while !self.0.is_empty() {
            self.short()?;
            self.value(deepest)?;
        }
        Some(())
    }

    fn array(mut self, deepest: u8) -> Option<()> {
        while !self.0.is_empty() {
            self.value(deepest)?;
        }
        Some(())
    }

    fn value(&mut self, deepest: u8) -> Option<()> {
        let kind = self.take(1)?;
        match (kind[0], deepest.checked_sub(1)) {
            (b'A', Some(deepest)) => Self(self.long()?).array(deepest),
            (b'F', Some(deepest)) => Self(self.long()?).table(deepest),
            (b'A' | b'F', None) => {
                kind[0] = b'x';
                self.long().map(drop)
            }
            (b'S' | b'x', _) => self.long().map(drop),
            (b't' | b'b' | b'B', _) => self.take(1).map(drop),
            (b's' | b'u' | b'U', _) => self.take(2).map(drop),
            (b'I' | b'i' | b'f', _) => self.take(4).map(drop),
            (b'D', _) => self.take(5).map(drop),
            (b'l' | b'L' | b'T' | b'd', _) => self.take(8).map(drop),
            (b'V', _) => Some(()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Result;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use futures_io::AsyncRead;

    use super::{DEEPEST, Sieve};

    /// Comes in pieces of a length.
    struct Pieces<'a>(&'a [u8], usize);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
            let (piece, rest) = self.0.split_at(self.1.min(self.0.len()).min(buffer.len()));
            buffer[..piece.len()].copy_from_slice(piece);
            self.0 = rest;
            Poll::Ready(Ok(piece.len()))
        }
    }

    /// What goes in, and what comes out, whatever the pieces are.
    fn sifted(bytes: &[u8]) -> Vec<u8> {
        let through = |piece| {
            let (mut sieve, mut out) = (Sieve::new(Pieces(bytes, piece)), Vec::new());
            let (mut buffer, mut context) = ([0; 50], Context::from_waker(Waker::noop()));
            while let Poll::Ready(Ok(read @ 1..)) = Pin::new(&mut sieve).poll_read(&mut context, &mut buffer) {
                out.extend(&buffer[..read]);
            }
            out
        };
        let whole = through(usize::MAX);
        assert!((1..20).all(|piece| through(piece) == whole));
        assert_eq!(whole.len(), bytes.len());
        whole
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1], &length[..], payload, &[0xce]].concat()
    }

    fn long(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[kind][..], &u32::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
    }

    /// A message with its key, a type of content, headers, a priority, a time, and a name for who sent it.
    fn message(content_type: &[u8], name: &[u8], value: &[u8], sender: &[u8]) -> Vec<u8> {
        let short = |text: &[u8]| [&[u8::try_from(text.len()).unwrap()], text].concat();
        let (table, flags) = (long(0, &[&short(name), value].concat()), [0b1010_1000, 0b0100_1000]);
        let properties = [&short(content_type), &table[1..], &[5], &[0xff; 8], &short(sender)].concat();
        let header = frame(2, &[&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2][..], &flags, &properties].concat());
        let method = [&[0, 60, 0, 60, 0, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 1, 0][..], &short(sender)].concat();
        [frame(1, &method), frame(1, b"\0\x3c\0\x47\xff"), header, frame(3, b"\xff\xfe")].concat()
    }

    #[test]
    fn what_is_sound_stays_as_it_is() {
        let inner =
            long(b'A', &[&long(b'S', b"\xff\xfe")[..], &long(b'x', b"\xff"), b"V", b"D\x02\0\0\0\x01"].concat());
        for value in [inner, b"t\x01".to_vec(), b"s\x80\xff".to_vec(), b"f\x7f\xc0\0\0".to_vec(), vec![b'T'; 9]] {
            let message = message("te\u{e4}t".as_bytes(), "n\u{e4}me".as_bytes(), &value, b"x");
            assert_eq!(sifted(&message.repeat(3)), message.repeat(3));
        }
        for others in [b"AMQP\0\0\x09\x01".to_vec(), frame(8, b""), b"\x02\0\x01\0\0".to_vec(), frame(2, b"short")] {
            assert_eq!(sifted(&others), others);
        }
    }

    #[test]
    fn what_is_no_text_becomes_text() {
        let (hostile, sound) =
            (message(b"a\xffb", b"\xc3\xa4\xc3", b"V", b"\xed\xa0\x80"), message(b"a?b", b"???", b"V", b"???"));
        assert_eq!(sifted(&hostile.repeat(3)), sound.repeat(3));
    }

    #[test]
    fn arrays_and_tables_lie_only_so_deep_within_one_another() {
        let nested = |depth: u8| {
            (0..depth).fold(long(b'S', b"deep"), |inner, _| long(b'A', &long(b'F', &[b"\x01n", &inner[..]].concat())))
        };
        let sound = message(b"", b"", &nested(DEEPEST / 2), b"");
        assert_eq!(sifted(&sound), sound);
        let sifted = sifted(&message(b"", b"", &nested(100), b""));
        let kept = sifted.windows(2).filter(|pair| matches!(pair, [b'A' | b'F', 0])).count();
        assert_eq!(kept, 200 - 1);
        assert_eq!(sifted.windows(2).filter(|pair| *pair == b"x\0").count(), 1);
    }
}
