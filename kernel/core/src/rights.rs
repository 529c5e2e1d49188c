//! What a copy of a capability may be less, or other, than its original: rights, badge, guard. Reference manual, sections
//! 3.1.1 and 4.2.

use crate::cap::Cap;
use crate::vspace::frame_rights;
use baton_sel4_abi::{CNodeCapData, CapRights, WORD_BITS};

impl Cap {
    /// The capability with no more than these rights. Types without rights stay as they are.
    #[inline]
    pub(crate) fn masked(self, mask: CapRights) -> Cap {
        match self {
            Cap::Endpoint {
                address,
                badge,
                rights,
            } => Cap::Endpoint {
                address,
                badge,
                rights: rights.intersection(mask),
            },
            Cap::Notification {
                address,
                badge,
                rights,
            } => Cap::Notification {
                address,
                badge,
                rights: rights.intersection(mask),
            },
            Cap::Reply {
                tcb,
                master,
                can_grant,
            } => Cap::Reply {
                tcb,
                master,
                can_grant: can_grant && mask.contains(CapRights::GRANT),
            },
            Cap::Frame {
                address,
                size,
                rights,
                device,
                asid,
                vaddr,
            } => Cap::Frame {
                address,
                size,
                rights: frame_rights(rights, mask),
                device,
                asid,
                vaddr,
            },
            other => other,
        }
    }

    /// The capability with that badge or guard, whichever its type has; others stay as they are. [`Cap::Null`] if it
    /// cannot be: a badge is given once, and not by `preserve`, that is, when a capability is only moved.
    #[inline]
    pub(crate) fn with_data(self, preserve: bool, data: u64) -> Cap {
        match self {
            Cap::Endpoint { badge, .. } | Cap::Notification { badge, .. }
                if preserve || badge != 0 =>
            {
                Cap::Null
            }
            Cap::Endpoint {
                address, rights, ..
            } => Cap::Endpoint {
                address,
                badge: data,
                rights,
            },
            Cap::Notification {
                address, rights, ..
            } => Cap::Notification {
                address,
                badge: data,
                rights,
            },
            Cap::CNode { address, radix, .. } => {
                let wanted = CNodeCapData::from_word(data);
                let size = wanted.guard_size();
                if size + radix > WORD_BITS {
                    return Cap::Null;
                }
                let mask = (1 << size) - 1;
                Cap::CNode {
                    address,
                    radix,
                    guard: CNodeCapData::new(wanted.guard() & mask, size),
                }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use baton_kernel_mem::Paddr;

    fn endpoint(badge: u64, rights: CapRights) -> Cap {
        Cap::Endpoint {
            address: Paddr::new(0x8000_0000),
            badge,
            rights,
        }
    }

    #[test]
    fn rights_only_become_fewer() {
        let less = endpoint(0, CapRights::READ).masked(CapRights::ALL);
        assert_eq!(less, endpoint(0, CapRights::READ));
        let none = endpoint(0, CapRights::READ).masked(CapRights::WRITE);
        assert_eq!(none, endpoint(0, CapRights::NONE));
        assert_eq!(Cap::Domain.masked(CapRights::NONE), Cap::Domain);
    }

    #[test]
    fn badge_is_given_once_and_not_while_moving() {
        let all = CapRights::ALL;
        assert_eq!(endpoint(0, all).with_data(false, 7), endpoint(7, all));
        assert_eq!(endpoint(7, all).with_data(false, 8), Cap::Null);
        assert_eq!(endpoint(0, all).with_data(true, 7), Cap::Null);
    }

    #[test]
    fn guard_must_fit_beside_the_index() {
        let cnode = |guard| Cap::CNode {
            address: Paddr::new(0x8000_0000),
            radix: 4,
            guard,
        };
        let plain = cnode(CNodeCapData::new(0, 0));
        let wanted = CNodeCapData::new(0xff, 4);
        let cut = CNodeCapData::new(0xf, 4);
        assert_eq!(plain.with_data(true, wanted.word()), cnode(cut));
        let too_long = CNodeCapData::new(0, 61);
        assert_eq!(plain.with_data(false, too_long.word()), Cap::Null);
    }
}
