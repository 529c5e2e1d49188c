//! The invocations.
//!
//! Most fit into a slot and are futures without a heap ([`Kernel::invoke`]); those with more words go through the bulk buffers of their
//! credit ([`Kernel::invoke_long`]), and are submitted when they are first polled.

use crate::answer::{Answer, AsyncError, LongAnswer};
use alloc::vec::Vec;
use baton_rpc::{BulkAnswer, Call, Client, Platform, SendError, Wire, WireReader, WireWriter};
use baton_sel4::abi::baton::asynchronous::{self, method};
use baton_sel4::abi::{Label, UserContext, context::USER_CONTEXT_WORDS};
use baton_sel4::{
    CPtr, CapRights, Capability, Error, IrqHandler, Notification, ObjectType, Page, PageTable,
    Slot, Tcb, Untyped, VmAttributes,
};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// The kernel, to be called asynchronously. Cheap to clone.
pub struct Kernel<P: Platform>(Client<P>);

impl<P: Platform> Clone for Kernel<P> {
    fn clone(&self) -> Self {
        Kernel(self.0.clone())
    }
}

/// A message in the short form.
struct Short<const CAPS: usize, const WORDS: usize> {
    cap: CPtr,
    caps: [CPtr; CAPS],
    words: [u64; WORDS],
}

impl<const CAPS: usize, const WORDS: usize> Wire for Short<CAPS, WORDS> {
    const WORDS: usize = 1 + CAPS + WORDS;

    #[inline]
    fn put(&self, out: &mut impl WireWriter) {
        out.word(self.cap);
        self.caps.iter().for_each(|&cap| out.word(cap));
        self.words.iter().for_each(|&word| out.word(word));
    }

    #[inline]
    fn get(from: &mut impl WireReader) -> Option<Self> {
        Some(Short {
            cap: from.word(),
            caps: <[u64; CAPS]>::get(from)?,
            words: <[u64; WORDS]>::get(from)?,
        })
    }
}

/// The words that came with an answer.
fn words_of<P: Platform>(answer: &BulkAnswer<P, [u64; 5]>) -> Vec<u64> {
    let bytes = answer.to_vec();
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// An invocation that is under way. Dropping it lets the kernel perform it all the same, and drops the answer.
#[must_use = "whether the invocation succeeds is only known when it is awaited"]
pub struct Invoking<'k, P: Platform>(Call<'k, P, Answer>);

impl<P: Platform> Future for Invoking<'_, P> {
    type Output = Result<u64, AsyncError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(answer)) => Poll::Ready(answer.result().map_err(AsyncError::Kernel)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(AsyncError::Lane(error))),
        }
    }
}

impl<P: Platform> Kernel<P> {
    /// The kernel behind a connection that was made of [`crate::link_parts`].
    pub fn new(client: Client<P>) -> Self {
        Kernel(client)
    }

    /// The connection.
    pub fn client(&self) -> &Client<P> {
        &self.0
    }

    /// Invokes `cap` in the short form; the result is the word that the invocation answers with, or 0. Submitted at once if a credit is
    /// free, else in its turn.
    #[inline(always)]
    pub fn invoke<const CAPS: usize, const WORDS: usize>(
        &self,
        cap: CPtr,
        label: Label,
        caps: [CPtr; CAPS],
        words: [u64; WORDS],
    ) -> Invoking<'_, P> {
        const {
            let all = 1 + CAPS + WORDS;
            assert!(CAPS <= 3 && all as u64 <= asynchronous::PAYLOAD_WORDS);
        }
        let method = method(label.number(), CAPS as u64, false);
        Invoking(self.0.call(method, Short { cap, caps, words }))
    }

    /// Invokes `cap` in the long form, with up to three capabilities and up to 120 words; what no message has room for is left out.
    ///
    /// # Errors
    /// [`AsyncError`].
    pub async fn invoke_long(
        &self,
        cap: CPtr,
        label: Label,
        caps: &[CPtr],
        words: &[u64],
    ) -> Result<LongAnswer, AsyncError> {
        let words = words.get(..120).unwrap_or(words);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let answer = self.call_long(cap, label, caps, &bytes).await?;
        Ok(LongAnswer(words_of(&answer)))
    }

    /// The long form for a fixed number of words whose success has nothing to say: takes nothing from the heap then.
    async fn invoke_fixed<const WORDS: usize>(
        &self,
        cap: CPtr,
        label: Label,
        caps: &[CPtr],
        words: [u64; WORDS],
    ) -> Result<(), AsyncError> {
        let bytes = words.map(u64::to_le_bytes);
        self.call_long(cap, label, caps, bytes.as_flattened())
            .await?;
        Ok(())
    }

    /// Sends the bytes of arguments along, with up to three capabilities, and waits for what is no error.
    async fn call_long(
        &self,
        cap: CPtr,
        label: Label,
        caps: &[CPtr],
        bytes: &[u8],
    ) -> Result<BulkAnswer<P, [u64; 5]>, AsyncError> {
        let caps = caps.get(..3).unwrap_or(caps);
        let mut message = [cap, 0, 0, 0];
        let [_, extra @ ..] = &mut message;
        extra
            .iter_mut()
            .zip(caps)
            .for_each(|(to, &from)| *to = from);
        let mut buffer = self.0.buffer().await.map_err(AsyncError::Lane)?;
        if buffer.write(bytes).is_err() {
            return Err(AsyncError::TooLong { bytes: bytes.len() });
        }
        let method = method(label.number(), caps.len() as u64, true);
        let call = self.0.call_bulk::<_, [u64; 5]>(method, message, buffer);
        let answer = call.await.map_err(AsyncError::Lane)?;
        let [label, ..] = answer.value;
        if label == 0 {
            return Ok(answer);
        }
        let words = words_of(&answer);
        let word = |index| words.get(index).copied().unwrap_or(0);
        match Error::from_reply(label, word) {
            Some(error) => Err(AsyncError::Kernel(error)),
            None => Ok(answer),
        }
    }

    // -- Signals ---------------------------------------------------------------------------------------------------

    /// Signals, and says when it is done or why it is not.
    #[inline]
    pub fn signal(&self, notification: Notification) -> Invoking<'_, P> {
        let method = method(0, 0, false);
        let message = Short {
            cap: notification.cptr(),
            caps: [],
            words: [],
        };
        Invoking(self.0.call(method, message))
    }

    /// Signals without an answer, no later than this thread's next tick in which it runs: a wake-up without a trap.
    ///
    /// # Errors
    /// [`SendError`]; nothing was signalled then.
    #[inline]
    pub fn try_signal_later(&self, notification: Notification) -> Result<(), SendError> {
        let message = Short {
            cap: notification.cptr(),
            caps: [],
            words: [],
        };
        self.0.try_send(method(0, 0, false), message)
    }

    // -- Threads (others than the caller) ----------------------------------------------------------------------------

    /// Sets the base of thread-local storage (`tp`).
    #[inline]
    pub fn set_tls_base(&self, thread: Tcb, base: u64) -> Invoking<'_, P> {
        self.invoke(thread.cptr(), Label::TcbSetTlsBase, [], [base])
    }

    /// Sets the priority; `authority` is a thread whose maximum is at least that.
    #[inline]
    pub fn set_priority(&self, thread: Tcb, authority: Tcb, priority: u64) -> Invoking<'_, P> {
        let caps = [authority.cptr()];
        self.invoke(thread.cptr(), Label::TcbSetPriority, caps, [priority])
    }

    /// Stops a thread.
    #[inline]
    pub fn suspend(&self, thread: Tcb) -> Invoking<'_, P> {
        self.invoke(thread.cptr(), Label::TcbSuspend, [], [])
    }

    /// Lets a thread go on.
    #[inline]
    pub fn resume(&self, thread: Tcb) -> Invoking<'_, P> {
        self.invoke(thread.cptr(), Label::TcbResume, [], [])
    }

    /// Reads all registers of a thread.
    ///
    /// # Errors
    /// [`AsyncError`].
    pub async fn read_registers(&self, thread: Tcb) -> Result<UserContext, AsyncError> {
        let words = [0, USER_CONTEXT_WORDS as u64];
        let label = Label::TcbReadRegisters;
        let answer = self.invoke_long(thread.cptr(), label, &[], &words).await?;
        let mut registers = [0; USER_CONTEXT_WORDS];
        registers
            .iter_mut()
            .zip(answer.words())
            .for_each(|(to, &from)| *to = from);
        Ok(UserContext::from_words(&registers))
    }

    /// Sets all registers of a thread, and lets it go on if `resume`.
    ///
    /// # Errors
    /// [`AsyncError`].
    pub async fn write_registers(
        &self,
        thread: Tcb,
        resume: bool,
        context: &UserContext,
    ) -> Result<(), AsyncError> {
        let mut words = Vec::from([u64::from(resume), USER_CONTEXT_WORDS as u64]);
        words.extend(context.to_words());
        let label = Label::TcbWriteRegisters;
        self.invoke_long(thread.cptr(), label, &[], &words).await?;
        Ok(())
    }

    // -- Memory ----------------------------------------------------------------------------------------------------

    /// Maps a frame, or changes the rights of its mapping there.
    #[inline]
    pub fn map(
        &self,
        page: Page,
        vspace: PageTable,
        vaddr: u64,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Invoking<'_, P> {
        let words = [vaddr, rights.word(), attributes.word()];
        self.invoke(page.cptr(), Label::PageMap, [vspace.cptr()], words)
    }

    /// Unmaps a frame.
    #[inline]
    pub fn unmap(&self, page: Page) -> Invoking<'_, P> {
        self.invoke(page.cptr(), Label::PageUnmap, [], [])
    }

    /// A frame's physical address.
    #[inline]
    pub fn address(&self, page: Page) -> Invoking<'_, P> {
        self.invoke(page.cptr(), Label::PageGetAddress, [], [])
    }

    /// Maps a page table where one is missing on the way to `vaddr`.
    #[inline]
    pub fn map_table(
        &self,
        table: PageTable,
        vspace: PageTable,
        vaddr: u64,
        attributes: VmAttributes,
    ) -> Invoking<'_, P> {
        let words = [vaddr, attributes.word()];
        self.invoke(table.cptr(), Label::PageTableMap, [vspace.cptr()], words)
    }

    /// Unmaps a page table.
    #[inline]
    pub fn unmap_table(&self, table: PageTable) -> Invoking<'_, P> {
        self.invoke(table.cptr(), Label::PageTableUnmap, [], [])
    }

    /// Makes `count` objects in slots `offset` and following of the CNode that `node` names.
    ///
    /// # Errors
    /// [`AsyncError`].
    pub async fn retype(
        &self,
        untyped: Untyped,
        object: ObjectType,
        size_bits: u64,
        node: Slot,
        offset: u64,
        count: u64,
    ) -> Result<(), AsyncError> {
        let words = [
            object.number(),
            size_bits,
            node.index,
            node.depth,
            offset,
            count,
        ];
        let (label, caps) = (Label::UntypedRetype, [node.root.cptr()]);
        self.invoke_fixed(untyped.cptr(), label, &caps, words).await
    }

    // -- Capabilities ----------------------------------------------------------------------------------------------

    /// Deletes what is in a slot.
    #[inline]
    pub fn delete(&self, slot: Slot) -> Invoking<'_, P> {
        self.invoke(
            slot.root.cptr(),
            Label::CNodeDelete,
            [],
            [slot.index, slot.depth],
        )
    }

    /// Deletes what was derived from what is in a slot.
    #[inline]
    pub fn revoke(&self, slot: Slot) -> Invoking<'_, P> {
        self.invoke(
            slot.root.cptr(),
            Label::CNodeRevoke,
            [],
            [slot.index, slot.depth],
        )
    }

    /// Moves a capability into an empty slot.
    #[inline]
    pub fn move_cap(&self, from: Slot, to: Slot) -> Invoking<'_, P> {
        let words = [to.index, to.depth, from.index, from.depth];
        self.invoke(to.root.cptr(), Label::CNodeMove, [from.root.cptr()], words)
    }

    /// Copies a capability into an empty slot, with at most `rights`.
    ///
    /// # Errors
    /// [`AsyncError`].
    pub async fn copy(&self, from: Slot, to: Slot, rights: CapRights) -> Result<(), AsyncError> {
        let words = [to.index, to.depth, from.index, from.depth, rights.word()];
        let caps = [from.root.cptr()];
        self.invoke_fixed(to.root.cptr(), Label::CNodeCopy, &caps, words)
            .await
    }

    /// As [`Kernel::copy`], with a badge or guard.
    ///
    /// # Errors
    /// [`AsyncError`].
    pub async fn mint(
        &self,
        from: Slot,
        to: Slot,
        rights: CapRights,
        data: u64,
    ) -> Result<(), AsyncError> {
        let words = [
            to.index,
            to.depth,
            from.index,
            from.depth,
            rights.word(),
            data,
        ];
        let caps = [from.root.cptr()];
        self.invoke_fixed(to.root.cptr(), Label::CNodeMint, &caps, words)
            .await
    }

    // -- Interrupts ------------------------------------------------------------------------------------------------

    /// Lets an interrupt be raised again.
    #[inline]
    pub fn acknowledge(&self, handler: IrqHandler) -> Invoking<'_, P> {
        self.invoke(handler.cptr(), Label::IrqAck, [], [])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_rpc::wire::SliceWriter;

    #[test]
    fn the_short_form_is_pointer_capabilities_arguments() {
        type PageMap = Short<1, 3>;
        assert_eq!(PageMap::WORDS, 5);
        let message = PageMap {
            cap: u64::MAX,
            caps: [3],
            words: [5, 6, 7],
        };
        let mut words = [0; 5];
        message.put(&mut SliceWriter::new(&mut words));
        assert_eq!(words, [u64::MAX, 3, 5, 6, 7]);
        let method = method(Label::PageMap.number(), 1, false);
        assert_eq!(method, 35 | 1 << 12);
    }
}
