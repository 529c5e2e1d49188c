//! Capabilities and their places, as the reference manual speaks of them.

use baton_sel4_abi::{
    ASID_POOL_BITS, CNodeCapData, CapRights, ENDPOINT_BITS, NOTIFICATION_BITS, PAGE_TABLE_BITS,
    SLOT_BITS, TCB_BITS, WORD_BITS,
};

/// Where an object is in physical memory: its identity.
pub type Addr = u64;

/// The slots of a thread, in the kernel's order.
pub mod own {
    pub const CSPACE: u64 = 0;
    pub const VSPACE: u64 = 1;
    pub const REPLY: u64 = 2;
    pub const CALLER: u64 = 3;
    pub const BUFFER: u64 = 4;
    /// How many there are.
    pub const COUNT: u64 = 5;
}

/// A slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// That slot of the CNode at that address.
    Node(Addr, u64),
    /// That slot of a thread; see [`own`].
    Thread(Addr, u64),
    /// The kernel's own for the notification of an interrupt.
    Irq(u64),
}

/// What the holder of an endpoint or notification may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub send: bool,
    pub receive: bool,
    pub grant: bool,
    pub grant_reply: bool,
}

impl Rights {
    pub const ALL: Self = Rights {
        send: true,
        receive: true,
        grant: true,
        grant_reply: true,
    };

    pub fn of(rights: CapRights) -> Self {
        Rights {
            send: rights.contains(CapRights::WRITE),
            receive: rights.contains(CapRights::READ),
            grant: rights.contains(CapRights::GRANT),
            grant_reply: rights.contains(CapRights::GRANT_REPLY),
        }
    }

    pub fn and(self, other: Self) -> Self {
        Rights {
            send: self.send && other.send,
            receive: self.receive && other.receive,
            grant: self.grant && other.grant,
            grant_reply: self.grant_reply && other.grant_reply,
        }
    }
}

/// What a zombie was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Was {
    Thread,
    Node {
        radix: u64,
    },
    /// An endpoint or notification, whose waiting threads are being sent away.
    Queue,
}

/// Where a frame or table is mapped: identifier of the address space, and address.
pub type Mapped = Option<(u64, u64)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    Untyped {
        at: Addr,
        bits: u64,
        device: bool,
        /// Bytes from its start on that have been used.
        used: u64,
    },
    Endpoint {
        at: Addr,
        badge: u64,
        rights: Rights,
    },
    Notification {
        at: Addr,
        badge: u64,
        send: bool,
        receive: bool,
    },
    Reply {
        thread: Addr,
        master: bool,
        grant: bool,
    },
    CNode {
        at: Addr,
        radix: u64,
        guard: u64,
        guard_bits: u64,
    },
    Thread {
        at: Addr,
    },
    IrqControl,
    IrqHandler {
        irq: u64,
    },
    Zombie {
        at: Addr,
        was: Was,
        left: u64,
    },
    Domain,
    Frame {
        at: Addr,
        bits: u64,
        read: bool,
        write: bool,
        device: bool,
        mapped: Mapped,
    },
    Table {
        at: Addr,
        mapped: Mapped,
    },
    AsidControl,
    AsidPool {
        at: Addr,
        base: u64,
    },
    /// One that the model does not know; the kernel must not have any.
    LeftOut,
}

/// What two capabilities must agree on to be capabilities to one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    Endpoint(Addr),
    Notification(Addr),
    ReplyTo(Addr),
    CNode(Addr, u64),
    Thread(Addr),
    Irq(u64),
    Domain,
    Frame(Addr, u64, bool),
    Table(Addr),
    AsidControl,
    AsidPool(Addr),
}

impl Cap {
    /// The object, for those of which there can be several capabilities. Untyped memory and zombies count as none: each of
    /// their capabilities stands for itself.
    pub fn object(&self) -> Option<Object> {
        Some(match *self {
            Cap::Endpoint { at, .. } => Object::Endpoint(at),
            Cap::Notification { at, .. } => Object::Notification(at),
            Cap::Reply { thread, .. } => Object::ReplyTo(thread),
            Cap::CNode { at, radix, .. } => Object::CNode(at, radix),
            Cap::Thread { at } => Object::Thread(at),
            Cap::IrqHandler { irq } => Object::Irq(irq),
            Cap::Domain => Object::Domain,
            Cap::Frame {
                at, bits, device, ..
            } => Object::Frame(at, bits, device),
            Cap::Table { at, .. } => Object::Table(at),
            Cap::AsidControl => Object::AsidControl,
            Cap::AsidPool { at, .. } => Object::AsidPool(at),
            Cap::Untyped { .. } | Cap::IrqControl | Cap::Zombie { .. } | Cap::LeftOut => {
                return None;
            }
        })
    }

    pub fn same_object(&self, other: &Cap) -> bool {
        self.object().is_some() && self.object() == other.object()
    }

    /// First byte and size (log2) of the memory of the object.
    pub fn memory(&self) -> Option<(Addr, u64)> {
        Some(match *self {
            Cap::Untyped { at, bits, .. } | Cap::Frame { at, bits, .. } => (at, bits),
            Cap::Endpoint { at, .. } => (at, ENDPOINT_BITS),
            Cap::Notification { at, .. } => (at, NOTIFICATION_BITS),
            Cap::CNode { at, radix, .. } => (at, radix + SLOT_BITS),
            Cap::Thread { at } => (at, TCB_BITS),
            Cap::Zombie { at, was, .. } => match was {
                Was::Thread => (at, TCB_BITS),
                Was::Node { radix } => (at, radix + SLOT_BITS),
                Was::Queue => return None,
            },
            Cap::Table { at, .. } => (at, PAGE_TABLE_BITS),
            Cap::AsidPool { at, .. } => (at, ASID_POOL_BITS),
            _ => return None,
        })
    }

    /// Whether the memory of `other` is within that of this one.
    fn memory_holds(&self, other: &Cap) -> bool {
        let (Some((at, bits)), Some((inner, inner_bits))) = (self.memory(), other.memory()) else {
            return false;
        };
        at <= inner && inner + (1 << inner_bits) <= at + (1 << bits)
    }

    /// Whether `other` is to this one's object or a part of it.
    fn includes(&self, other: &Cap) -> bool {
        match (self, other) {
            (Cap::Untyped { .. }, _) => self.memory_holds(other),
            (Cap::Frame { .. }, Cap::Frame { .. }) => self.memory_holds(other),
            (Cap::IrqControl, Cap::IrqHandler { .. }) => true,
            _ => self.same_object(other),
        }
    }

    pub fn badge(&self) -> u64 {
        match *self {
            Cap::Endpoint { badge, .. } | Cap::Notification { badge, .. } => badge,
            _ => 0,
        }
    }

    /// Whether a capability that is an original, as `self` is if so, can have `child` under it. A badged one has only unoriginal
    /// ones with the same badge.
    pub fn can_be_parent_of(&self, child: &Cap, child_is_original: bool) -> bool {
        self.includes(child)
            && (self.badge() == 0 || (self.badge() == child.badge() && !child_is_original))
    }

    /// With at most these rights.
    pub fn with_rights(self, mask: Rights) -> Cap {
        match self {
            Cap::Endpoint { at, badge, rights } => Cap::Endpoint {
                at,
                badge,
                rights: rights.and(mask),
            },
            Cap::Notification {
                at,
                badge,
                send,
                receive,
            } => Cap::Notification {
                at,
                badge,
                send: send && mask.send,
                receive: receive && mask.receive,
            },
            Cap::Frame {
                at,
                bits,
                read,
                write,
                device,
                mapped,
            } => {
                // There is no writing without reading.
                let read = read && mask.receive;
                Cap::Frame {
                    at,
                    bits,
                    read,
                    write: read && write && mask.send,
                    device,
                    mapped,
                }
            }
            Cap::Reply {
                thread,
                master,
                grant,
            } => Cap::Reply {
                thread,
                master,
                grant: grant && mask.grant,
            },
            other => other,
        }
    }

    /// With this badge or guard; nothing if it may not have it. `moving` is when no copy is made.
    pub fn with_data(self, moving: bool, data: u64) -> Option<Cap> {
        match self {
            Cap::Endpoint {
                at,
                badge: 0,
                rights,
            } if !moving => Some(Cap::Endpoint {
                at,
                badge: data,
                rights,
            }),
            Cap::Notification {
                at,
                badge: 0,
                send,
                receive,
            } if !moving => Some(Cap::Notification {
                at,
                badge: data,
                send,
                receive,
            }),
            Cap::Endpoint { .. } | Cap::Notification { .. } => None,
            Cap::CNode { at, radix, .. } => {
                let data = CNodeCapData::from_word(data);
                let guard_bits = data.guard_size();
                (guard_bits + radix <= WORD_BITS).then_some(Cap::CNode {
                    at,
                    radix,
                    guard: data.guard() & low(guard_bits),
                    guard_bits,
                })
            }
            other => Some(other),
        }
    }
}

/// A mask of the lowest `bits`.
pub fn low(bits: u64) -> u64 {
    match bits {
        64.. => u64::MAX,
        bits => (1 << bits) - 1,
    }
}
