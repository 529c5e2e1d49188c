//! Payload beyond a slot.
//!
//! Each credit owns one buffer on each side: the client's for the request, the server's for the answer. So a buffer is there
//! whenever a credit is, and nobody has to say when one is free again: the credit does. Ownership passes by agreement only, for
//! whoever wrote a buffer keeps its mapping; readers copy what they validate.
//!
//! ```text
//!  Buffer (credit leased, client writes) ──▶ call ──▶ BulkIn (server reads), BulkOut (server writes)
//!      ▲                                                       │
//!      └── BulkAnswer (client reads; the credit is still held) ◀── reply
//! ```

use crate::answer::Answer;
use crate::call::Client;
use crate::connection::Connection;
use crate::error::{CallError, TooLong, TryCallError};
use crate::request::{Reply, Request};
use crate::tokens::{Entry, NO_ENTRY, State};
use crate::wire::{Wire, WireWriter};
use alloc::rc::Rc;
use baton_executor::When;
use baton_inbox::{Info, Kind, Platform, Status};
use baton_shm::{ReadBytes, WriteBytes};
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

/// A credit and its buffer: fill it, and pass it into a call.
pub struct Buffer<P: Platform> {
    connection: Rc<Connection<P>>,
    entry: u16,
    bytes: WriteBytes,
    len_bytes: usize,
}

/// The payload of a request, as its handler sees it.
pub struct BulkIn(ReadBytes);

/// Room for the payload of an answer.
pub struct BulkOut {
    bytes: WriteBytes,
    len_bytes: usize,
}

/// An answer with payload; it holds the credit, so the bytes stay until it is dropped.
pub struct BulkAnswer<P: Platform, T> {
    /// The result.
    pub value: T,
    bytes: ReadBytes,
    buffer: Buffer<P>,
}

/// A call with payload that is under way; dropping it cancels it, and the buffer stays taken until the answer has come.
#[must_use = "a call that is dropped is cancelled"]
pub struct BulkCall<P: Platform, T: Wire> {
    connection: Rc<Connection<P>>,
    entry: u16,
    result: PhantomData<fn() -> T>,
}

impl<P: Platform, T: Wire> Unpin for BulkCall<P, T> {}

impl<P: Platform> Client<P> {
    /// Waits for a credit and its buffer.
    ///
    /// # Errors
    ///
    /// [`CallError::Failed`] when the connection has ended, [`CallError::NoCredits`] when the peer granted none.
    pub async fn buffer(&self) -> Result<Buffer<P>, CallError> {
        let entry = self.0.credit().await?;
        Buffer::new(&self.0, entry)
    }

    /// A credit and its buffer, if one is free now.
    ///
    /// # Errors
    ///
    /// [`TryCallError`].
    pub fn try_buffer(&self) -> Result<Buffer<P>, TryCallError<()>> {
        let connection = &self.0;
        if let Some(failure) = connection.failure() {
            return Err(TryCallError::Failed((), failure));
        }
        let entry = connection.take_settled().ok_or(TryCallError::Full(()))?;
        Buffer::new(connection, entry).map_err(|_| TryCallError::Full(()))
    }

    /// Calls `method` with the payload in `buffer`, whose credit pays for it.
    #[inline]
    pub fn call_bulk<A: Wire, T: Wire>(
        &self,
        method: u16,
        args: A,
        buffer: Buffer<P>,
    ) -> BulkCall<P, T> {
        let (connection, entry, len_bytes) = buffer.into_parts();
        if Rc::ptr_eq(&connection, &self.0) {
            let info = Info::new(Kind::Request, method, A::WORDS + 1);
            if let Some(entry) = connection.tokens.entry(entry) {
                if connection.failure().is_some() {
                    // What was out has failed already; nobody would ever end this one.
                    entry.state.set(State::Failed);
                } else {
                    entry.state.set(State::Plain);
                    connection.submit_with(entry, info, |out| {
                        args.put(out);
                        WireWriter::word(out, len_bytes as u64);
                    });
                }
            }
            BulkCall {
                connection,
                entry,
                result: PhantomData,
            }
        } else {
            // A buffer of another connection pays for nothing here.
            connection.abandon(entry);
            BulkCall {
                connection: self.0.clone(),
                entry: NO_ENTRY,
                result: PhantomData,
            }
        }
    }
}

impl<P: Platform> Buffer<P> {
    fn new(connection: &Rc<Connection<P>>, entry: &Entry) -> Result<Self, CallError> {
        entry.state.set(State::Leased);
        let layout = &connection.out_layout;
        let bytes = WriteBytes::new(
            &connection.outgoing,
            layout.request_bulk(entry.index()),
            layout.request_bulk_bytes() as usize,
        );
        match bytes {
            Ok(bytes) => Ok(Buffer {
                connection: connection.clone(),
                entry: entry.index(),
                bytes,
                len_bytes: 0,
            }),
            Err(_) => {
                connection.release(entry);
                Err(CallError::NoCredits)
            }
        }
    }

    /// How many bytes the buffer can hold.
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Puts `data` into the buffer, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`TooLong`]; the buffer is unchanged then.
    pub fn write(&mut self, data: &[u8]) -> Result<(), TooLong> {
        check_fits(&self.bytes, data.len())?;
        self.len_bytes = self.bytes.copy_from(data);
        Ok(())
    }

    fn into_parts(mut self) -> (Rc<Connection<P>>, u16, usize) {
        let entry = core::mem::replace(&mut self.entry, NO_ENTRY);
        (self.connection.clone(), entry, self.len_bytes)
    }
}

fn check_fits(bytes: &WriteBytes, len_bytes: usize) -> Result<(), TooLong> {
    if len_bytes > bytes.len() {
        return Err(TooLong {
            len_bytes,
            capacity_bytes: bytes.len(),
        });
    }
    Ok(())
}

impl<P: Platform> Drop for Buffer<P> {
    fn drop(&mut self) {
        if self.entry != NO_ENTRY {
            self.connection.abandon(self.entry);
        }
    }
}

impl BulkIn {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Copies the first bytes out, as many as both sides have, and returns how many.
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        self.0.copy_to(out)
    }

    /// A private copy of all bytes.
    pub fn to_vec(&self) -> alloc::vec::Vec<u8> {
        self.0.to_vec()
    }

    /// The shared bytes themselves. Their writer can change them at any time.
    pub fn bytes(&self) -> &ReadBytes {
        &self.0
    }
}

impl BulkOut {
    /// How many bytes the answer can have.
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Puts `data` into the answer, in place of what was there.
    ///
    /// # Errors
    ///
    /// [`TooLong`]; the answer is unchanged then.
    pub fn write(&mut self, data: &[u8]) -> Result<(), TooLong> {
        check_fits(&self.bytes, data.len())?;
        self.len_bytes = self.bytes.copy_from(data);
        Ok(())
    }

    /// Copies shared bytes into the answer, such as those of the request.
    ///
    /// # Errors
    ///
    /// [`TooLong`]; the answer is unchanged then.
    pub fn write_shared(&mut self, data: &ReadBytes) -> Result<(), TooLong> {
        check_fits(&self.bytes, data.len())?;
        self.len_bytes = self.bytes.copy_from_shared(data);
        Ok(())
    }
}

impl<P: Platform> Request<'_, P> {
    /// The payload of the request; none when its length is beyond the credit's buffer, or it has none: the peer's fault.
    pub fn bulk_in(&self) -> Option<BulkIn> {
        let info = self.message.info;
        let len_bytes = *self.message.payload.get(info.words().checked_sub(1)?)?;
        let connection = self.connection();
        let layout = &connection.in_layout;
        if len_bytes > u64::from(layout.request_bulk_bytes()) {
            return None;
        }
        let at = layout.request_bulk(self.credit());
        let bytes = ReadBytes::new(&connection.incoming, at, len_bytes as usize);
        bytes.ok().map(BulkIn)
    }

    /// Room for the payload of the answer.
    pub fn bulk_out(&self) -> Option<BulkOut> {
        let connection = self.connection();
        let layout = &connection.out_layout;
        let at = layout.answer_bulk(self.credit());
        let len_bytes = layout.answer_bulk_bytes() as usize;
        let bytes = WriteBytes::new(&connection.outgoing, at, len_bytes).ok()?;
        Some(BulkOut {
            bytes,
            len_bytes: 0,
        })
    }
}

impl<P: Platform> Reply<'_, P> {
    /// Answers with `value` and the payload in `out`, which must be the request's own.
    #[inline]
    pub fn send_bulk<T: Wire>(self, value: T, out: BulkOut, when: When) {
        let info = Info::new(Kind::Answer, Status::Done as u16, T::WORDS + 1);
        self.send_with(
            info,
            when,
            #[inline(always)]
            |slot| {
                value.put(slot);
                WireWriter::word(slot, out.len_bytes as u64);
            },
        );
    }
}

impl<P: Platform, T: Wire> Future for BulkCall<P, T> {
    type Output = Result<BulkAnswer<P, T>, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(entry) = this.connection.tokens.entry(this.entry) else {
            return Poll::Ready(Err(CallError::NoCredits));
        };
        let Poll::Ready(answer) = this.connection.poll_answer(entry, context.waker()) else {
            return Poll::Pending;
        };
        this.entry = NO_ENTRY;
        let answer = match answer {
            Ok(answer) => this.finish(entry, answer),
            Err(error) => Err(error),
        };
        Poll::Ready(answer)
    }
}

impl<P: Platform, T: Wire> BulkCall<P, T> {
    fn finish(&self, entry: &Entry, answer: Answer) -> Result<BulkAnswer<P, T>, CallError> {
        let connection = &self.connection;
        let value = answer.read::<P, T>(connection);
        let len_bytes = answer.bulk_len(connection, T::WORDS);
        // The credit is released and taken again at once: its token is spent, and the next call gets a new generation.
        connection.tokens.renew(entry);
        let buffer = Buffer::new(connection, entry)?;
        let value = value?;
        let layout = &connection.in_layout;
        if len_bytes > u64::from(layout.answer_bulk_bytes()) {
            return Err(CallError::BadAnswer);
        }
        let at = layout.answer_bulk(entry.index());
        let bytes = ReadBytes::new(&connection.incoming, at, len_bytes as usize)
            .map_err(|_| CallError::BadAnswer)?;
        Ok(BulkAnswer {
            value,
            bytes,
            buffer,
        })
    }
}

impl<P: Platform, T: Wire> Drop for BulkCall<P, T> {
    fn drop(&mut self) {
        if self.entry != NO_ENTRY {
            self.connection.abandon(self.entry);
        }
    }
}

impl<P: Platform, T> BulkAnswer<P, T> {
    /// The payload of the answer. The server keeps its mapping: copy what is to be trusted.
    pub fn bytes(&self) -> &ReadBytes {
        &self.bytes
    }

    /// A private copy of the payload.
    pub fn to_vec(&self) -> alloc::vec::Vec<u8> {
        self.bytes.to_vec()
    }

    /// Gives the buffer back for the next call; the answer's bytes are gone with that.
    pub fn into_buffer(self) -> Buffer<P> {
        self.buffer
    }
}
