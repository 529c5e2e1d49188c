//! What a process and its broker say to each other, and where the broker maps what.
//!
//! A process calls the broker on its parent's endpoint, with one of the labels here; the label of the answer is 0 or a [`Refusal`].
//! What the broker has to tell it writes into the process's *notice page*, which the process may only read, and signals the
//! process's notification:
//!
//! ```text
//! word 0          how many notices there have been
//!      1          how the process's messages get across: a `Transport`
//!      64 + 7k    connection k: 0  its state: generation << 8 | one of `state`
//!                               1  the service: its number | whether this process serves, << 32
//!                               2  credits that this process may use | credits that it grants, << 32
//!                               3  bytes of a request's bulk buffer | of an answer's, << 32
//!                               4  the connection's number in the peer's inbox | the peer's process number, << 32
//! ```
//!
//! Words 1 to 4 do not change while the state is the same. Neighbours: `user/broker` writes all this, `notices` reads it.

use baton_inbox::layout::MAX_CONNECTIONS;
use baton_inbox::{LayoutError, Publication, RegionLayout};

/// Label: connect to the service whose capability comes along. Words: hash of the interface, hash of the interface that may be
/// called back or 0, credits wanted | offered << 32, bytes of bulk buffers of requests | of answers << 32. Answer: the connection's
/// number, or what goes with the refusal.
pub const CONNECT: u64 = 0x110;
/// Label: what a service of the caller grants. Words: the service's number, then as for [`CONNECT`], of what is granted at most.
pub const SERVE: u64 = 0x111;
/// Label: the caller's inbox has left the connection out of its scan; its peer is to be told. Words: number, generation.
pub const END: u64 = 0x112;
/// Label: nothing of the caller's refers to the connection's memory any more. Words: number, generation.
pub const RELEASE: u64 = 0x113;
/// Label: signal the caller when the machine's clock reads this many ticks. One word; a later call replaces an earlier one.
pub const ALARM: u64 = 0x114;

/// Words of [`CONNECT`] and, behind the service's number, of [`SERVE`].
pub const TERMS_WORDS: usize = 4;

/// Why the broker refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Refusal {
    /// The message is none that the broker knows, or too short.
    Malformed = 1,
    /// No capability to a service came along, or it was revoked.
    NoService = 2,
    /// The service's process has not said yet what it grants, or has ended.
    NotServing = 3,
    /// The service is of another interface; its hash goes with it.
    Interface = 4,
    /// The service calls back another interface; its hash goes with it.
    BackInterface = 5,
    /// The service's inbox holds no more connections.
    ServerFull = 6,
    /// The caller's inbox holds no more connections.
    OwnFull = 7,
    /// More is wanted than any connection can have.
    TooMuch = 8,
    /// The broker's memory or slots are used up.
    Exhausted = 9,
    /// The caller may not do that: the service is another process's, or there is no such connection.
    NotYours = 10,
    /// The broker has no clock that could raise an alarm.
    NoClock = 11,
    /// As many connections were made with the capability as may be at a time: disconnect one.
    GrantInUse = 12,
    /// The service's process gets its messages across in another way.
    Transport = 13,
}

impl Refusal {
    const ALL: [Refusal; 13] = [
        Refusal::Malformed,
        Refusal::NoService,
        Refusal::NotServing,
        Refusal::Interface,
        Refusal::BackInterface,
        Refusal::ServerFull,
        Refusal::OwnFull,
        Refusal::TooMuch,
        Refusal::Exhausted,
        Refusal::NotYours,
        Refusal::NoClock,
        Refusal::GrantInUse,
        Refusal::Transport,
    ];

    /// The refusal in an answer's label, if it is one.
    pub fn from_label(label: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|refusal| *refusal as u64 == label)
    }
}

/// Connections that can be made with one capability to a service at a time: so nobody takes all places of a service. Those that have ended
/// count until they are let go of.
pub const CONNECTIONS_OF_GRANT: usize = 4;

/// How the messages of a process get across, of which both sides of a connection must have the same idea: it is the parent's choice, and
/// [`Transport::of`] the program's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u64)]
pub enum Transport {
    /// Requests and answers have a lane each, which one side writes.
    #[default]
    Lanes = 0,
    /// Requests and answers of a direction share a lane. For comparison.
    OneLane = 1,
    /// All senders write one ring of the receiver, who must trust them all, as they must trust each other: one that dies may take the others
    /// with it. For comparison.
    OneRing = 2,
}

impl Transport {
    /// What a program with publication `U` needs.
    pub const fn of<U: Publication>() -> Self {
        match (U::ONE_RING, U::ONE_LANE) {
            (true, _) => Transport::OneRing,
            (false, true) => Transport::OneLane,
            (false, false) => Transport::Lanes,
        }
    }

    /// The layouts of what this side writes and what its peer writes, for `own` credits at the peer and `granted` ones here.
    fn layouts(self, own: u32, granted: u32, bulk: [u32; 2]) -> Result<Layouts, LayoutError> {
        // Where requests and answers share a lane, it needs room for both.
        let spare = match self {
            Transport::Lanes => 0,
            Transport::OneLane | Transport::OneRing => own.max(granted),
        };
        let of = |credits: u32, others| {
            let slots = credits.saturating_add(spare);
            RegionLayout::new(slots, others, bulk[0], bulk[1])
        };
        Ok((of(own, granted)?, of(granted, own)?))
    }
}

/// What one side writes, and what the other does.
pub type Layouts = (RegionLayout, RegionLayout);

/// States of a connection in the notice page.
pub mod state {
    /// There is none with this number.
    pub const FREE: u64 = 0;
    /// It stands.
    pub const STANDS: u64 = 1;
    /// It has ended: the peer has let go of it or died, or it was revoked.
    pub const ENDED: u64 = 2;

    /// The state word of a connection.
    pub const fn word(generation: u64, state: u64) -> u64 {
        generation << 8 | state
    }
}

/// Word of the notice page that counts notices.
pub const NOTICES: usize = 0;
/// Word of the notice page that has the process's [`Transport`].
pub const TRANSPORT: usize = 1;
/// Words of the notice page that mean something.
pub const NOTICE_WORDS: usize = entry(MAX_CONNECTIONS);

/// First word of connection `index` in the notice page.
pub const fn entry(index: usize) -> usize {
    64 + 7 * index
}

const _: () = assert!(NOTICE_WORDS * 8 <= 4096);

/// Slots of a process's capability space that the broker fills.
pub mod slots {
    use baton_runtime::process::slots::GIVEN;

    /// The process's own notification, as one of the gifts.
    pub const NOTIFICATION: u64 = GIVEN;
    /// The first capability to a service.
    pub const SERVICES: u64 = GIVEN + 1;
    /// The bell of connection 0; those of the others follow.
    pub const BELLS: u64 = 128;
    /// In a process that is given its clients' address spaces, that of the client of connection 0; those of the others follow.
    pub const SPACES: u64 = BELLS + baton_inbox::MAX_CONNECTIONS as u64;
    /// Slots of a process with an inbox (count, log2).
    pub const SIZE_BITS: u64 = 8;
}

/// Where the broker maps what in a process with an inbox.
pub mod space {
    /// The page of its own state word: it may write.
    pub const STATE: u64 = 0x1f_0000_0000;
    /// The page of its own hint word: it and its peers may write.
    pub const HINT: u64 = STATE + 0x1000;
    /// Its notice page: it may read.
    pub const NOTICES: u64 = STATE + 0x2000;
    /// Its kernel lane, if it has one: the region that it writes, then the one that the kernel writes.
    pub const KERNEL_LANE: u64 = STATE + 0x10_0000;
    /// Bytes of a kernel lane (log2) at most, so that no further page table is needed.
    pub const KERNEL_LANE_BITS: u64 = 20;
    /// What no program, broker or platform uses: for a memory server that maps pages for the process.
    pub const OPEN: u64 = 0x30_0000_0000;
    /// Bytes of that.
    pub const OPEN_BYTES: u64 = 1 << 30;

    /// Its own ring, if all its senders write one: they may, too.
    pub const RING: u64 = 0x1f_4000_0000;
    /// Bytes of such a ring (log2): one frame.
    pub const RING_BITS: u64 = 21;

    const PEERS: u64 = 0x1f_8000_0000;
    const LANES: u64 = 0x20_0000_0000;

    /// Bytes of a region at most.
    pub const REGION_BYTES: u64 = 1 << 28;

    /// The page of the state word of connection `index`'s peer: it may read.
    pub const fn peer_state(index: u64) -> u64 {
        PEERS + index * 0x2000
    }

    /// The page of the hint word of connection `index`'s peer: it may write.
    pub const fn peer_hint(index: u64) -> u64 {
        peer_state(index) + 0x1000
    }

    /// The ring of connection `index`'s peer, if all its senders write one: it may write.
    pub const fn peer_ring(index: u64) -> u64 {
        RING + ((index + 1) << RING_BITS)
    }

    /// The region of connection `index` that it writes.
    pub const fn outgoing(index: u64) -> u64 {
        LANES + 2 * index * REGION_BYTES
    }

    /// The region of connection `index` that its peer writes.
    pub const fn incoming(index: u64) -> u64 {
        outgoing(index) + REGION_BYTES
    }

    /// What lies at an address.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Place {
        /// Page `page` of the region of connection `index` that the process writes.
        Outgoing {
            /// The connection.
            index: u64,
            /// The page in the region.
            page: u64,
        },
        /// Page `page` of the region of connection `index` that the peer writes.
        Incoming {
            /// The connection.
            index: u64,
            /// The page in the region.
            page: u64,
        },
        /// The page of the peer's state word.
        PeerState {
            /// The connection.
            index: u64,
        },
        /// The page of the peer's hint word.
        PeerHint {
            /// The connection.
            index: u64,
        },
    }

    /// What of a connection lies at `address`, if something can.
    pub const fn place(address: u64) -> Option<Place> {
        const CONNECTIONS: u64 = baton_inbox::MAX_CONNECTIONS as u64;
        if address >= LANES && address < outgoing(CONNECTIONS) {
            let (region, page) = (
                (address - LANES) / REGION_BYTES,
                (address - LANES) % REGION_BYTES / 4096,
            );
            let index = region / 2;
            return Some(if region.is_multiple_of(2) {
                Place::Outgoing { index, page }
            } else {
                Place::Incoming { index, page }
            });
        }
        if address >= PEERS && address < peer_state(CONNECTIONS) {
            let index = (address - PEERS) / 0x2000;
            return Some(if (address - PEERS) % 0x2000 < 0x1000 {
                Place::PeerState { index }
            } else {
                Place::PeerHint { index }
            });
        }
        None
    }
}

/// What one side of a connection wants, offers or grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Hash of the interface that the client calls.
    pub interface: u64,
    /// Hash of the interface that the server calls back; 0 for none.
    pub back_interface: u64,
    /// Requests that the client may have outstanding.
    pub credits: u32,
    /// Requests that the server may have outstanding.
    pub back_credits: u32,
    /// Bytes of the bulk buffer of a request.
    pub request_bulk_bytes: u32,
    /// Bytes of the bulk buffer of an answer.
    pub answer_bulk_bytes: u32,
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn unpair(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

impl Terms {
    /// As words of a message.
    pub fn to_words(&self) -> [u64; TERMS_WORDS] {
        [
            self.interface,
            self.back_interface,
            pair(self.credits, self.back_credits),
            pair(self.request_bulk_bytes, self.answer_bulk_bytes),
        ]
    }

    /// From words of a message.
    pub fn from_words(words: [u64; TERMS_WORDS]) -> Self {
        let (credits, back_credits) = unpair(words[2]);
        let (request_bulk_bytes, answer_bulk_bytes) = unpair(words[3]);
        Terms {
            interface: words[0],
            back_interface: words[1],
            credits,
            back_credits,
            request_bulk_bytes,
            answer_bulk_bytes,
        }
    }

    /// What a client that wants `self` gets of a server that grants `granted`.
    ///
    /// # Errors
    /// [`Refusal::Interface`] and [`Refusal::BackInterface`], with the server's hash.
    pub fn agree(&self, granted: &Terms) -> Result<Terms, (Refusal, u64)> {
        if self.interface != granted.interface {
            return Err((Refusal::Interface, granted.interface));
        }
        // Who has nothing to be called by, or nothing to call, simply has no credits for that.
        let calls_back = self.back_interface != 0 && granted.back_interface != 0;
        if calls_back && self.back_interface != granted.back_interface {
            return Err((Refusal::BackInterface, granted.back_interface));
        }
        Ok(Terms {
            credits: self.credits.min(granted.credits),
            back_credits: if calls_back {
                self.back_credits.min(granted.back_credits)
            } else {
                0
            },
            request_bulk_bytes: self.request_bulk_bytes.min(granted.request_bulk_bytes),
            answer_bulk_bytes: self.answer_bulk_bytes.min(granted.answer_bulk_bytes),
            ..*self
        })
    }

    /// The layouts of the client's and of the server's region.
    ///
    /// # Errors
    /// [`LayoutError`]: less must be wanted.
    pub fn layouts(&self, transport: Transport) -> Result<Layouts, LayoutError> {
        let bulk = [self.request_bulk_bytes, self.answer_bulk_bytes];
        transport.layouts(self.credits, self.back_credits, bulk)
    }
}

/// One side's entry in the notice page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The service's number.
    pub service: u32,
    /// Whether this side serves it.
    pub serves: bool,
    /// Credits that this side may use.
    pub credits: u32,
    /// Credits that it grants.
    pub granted: u32,
    /// Bytes of the bulk buffer of a request.
    pub request_bulk_bytes: u32,
    /// Bytes of the bulk buffer of an answer.
    pub answer_bulk_bytes: u32,
    /// The connection's number in the peer's inbox.
    pub peer_index: u32,
    /// The peer's process number.
    pub peer: u32,
}

impl Entry {
    /// Words 1 to 4 of the entry.
    pub fn to_words(&self) -> [u64; 4] {
        [
            pair(self.service, u32::from(self.serves)),
            pair(self.credits, self.granted),
            pair(self.request_bulk_bytes, self.answer_bulk_bytes),
            pair(self.peer_index, self.peer),
        ]
    }

    /// From words 1 to 4 of the entry.
    pub fn from_words(words: [u64; 4]) -> Self {
        let [service, credits, bulk, peer] = words.map(unpair);
        Entry {
            service: service.0,
            serves: service.1 != 0,
            credits: credits.0,
            granted: credits.1,
            request_bulk_bytes: bulk.0,
            answer_bulk_bytes: bulk.1,
            peer_index: peer.0,
            peer: peer.1,
        }
    }

    /// The layouts of the region that this side writes and of the one that its peer writes.
    ///
    /// # Errors
    /// [`LayoutError`]; none if the broker made the connection.
    pub fn layouts(&self, transport: Transport) -> Result<Layouts, LayoutError> {
        let bulk = [self.request_bulk_bytes, self.answer_bulk_bytes];
        transport.layouts(self.credits, self.granted, bulk)
    }
}
