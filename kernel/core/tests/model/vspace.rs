//! Address spaces: page tables, frames, identifiers. What the hardware caches is left out.

use crate::caps::{Addr, Cap, Mapped, Place, Rights, low};
use crate::invoke::{DONE, Invocation};
use crate::state::{Answer, Lost, Model, Refusal, Translation};
use baton_sel4_abi::{
    ASID_POOL_BITS, ASID_POOL_INDEX_BITS, CapRights, GIGA_PAGE_BITS, Label, NUM_ASID_POOLS_BITS,
    PAGE_BITS, PAGE_TABLE_INDEX_BITS, USER_TOP, VmAttributes,
};

impl Model {
    pub fn root_of(&self, asid: u64) -> Option<Addr> {
        let pool = self.pool_of.get(&(asid & !low(ASID_POOL_INDEX_BITS)))?;
        let pool = self.pools.get(pool)?;
        pool.get(&(asid & low(ASID_POOL_INDEX_BITS))).copied()
    }

    pub fn remove_root(&mut self, asid: u64) {
        if let Some(pool) = self
            .pool_of
            .get(&(asid & !low(ASID_POOL_INDEX_BITS)))
            .copied()
            && let Some(pool) = self.pools.get_mut(&pool)
        {
            pool.remove(&(asid & low(ASID_POOL_INDEX_BITS)));
        }
    }

    fn index(vaddr: u64, bits: u64) -> u64 {
        (vaddr >> bits) & low(PAGE_TABLE_INDEX_BITS)
    }

    fn entry(&self, table: Addr, vaddr: u64, bits: u64) -> Option<Translation> {
        let table = self.tables.get(&table)?;
        table.get(&Self::index(vaddr, bits)).copied()
    }

    /// The table in whose entry an address ends, and what an entry of it maps (bytes, log2).
    fn walk(&self, root: Addr, vaddr: u64) -> (Addr, u64) {
        let (mut table, mut bits) = (root, GIGA_PAGE_BITS);
        while bits > PAGE_BITS
            && let Some(Translation::Table(next)) = self.entry(table, vaddr, bits)
        {
            table = next;
            bits -= PAGE_TABLE_INDEX_BITS;
        }
        (table, bits)
    }

    fn set_entry(&mut self, table: Addr, vaddr: u64, bits: u64, to: Option<Translation>) {
        if let Some(table) = self.tables.get_mut(&table) {
            match to {
                Some(to) => _ = table.insert(Self::index(vaddr, bits), to),
                None => _ = table.remove(&Self::index(vaddr, bits)),
            }
        }
    }

    pub fn unmap_frame(&mut self, asid: u64, vaddr: u64, frame: Addr, frame_bits: u64) {
        let Some(root) = self.root_of(asid) else {
            return;
        };
        let (table, bits) = self.walk(root, vaddr);
        match self.entry(table, vaddr, bits) {
            Some(Translation::Frame { at, .. }) if at == frame && bits == frame_bits => {
                self.set_entry(table, vaddr, bits, None);
            }
            _ => {}
        }
    }

    pub fn unmap_table(&mut self, asid: u64, vaddr: u64, wanted: Addr) {
        let (mut table, mut bits) = (self.root_of(asid), GIGA_PAGE_BITS);
        while bits > PAGE_BITS
            && let Some(above) = table
            && let Some(Translation::Table(next)) = self.entry(above, vaddr, bits)
        {
            if next == wanted {
                return self.set_entry(above, vaddr, bits, None);
            }
            table = Some(next);
            bits -= PAGE_TABLE_INDEX_BITS;
        }
    }

    /// Identifier and root of the address space whose root's capability is in that slot.
    fn space_in(&self, place: Place) -> Result<(u64, Addr), Refusal> {
        match self.cap(place) {
            Some(Cap::Table {
                at,
                mapped: Some((asid, _)),
            }) => Ok((asid, at)),
            _ => Err(Refusal::InvalidCapability(1)),
        }
    }

    fn must_be_root(&self, asid: u64, root: Addr) -> Result<(), Refusal> {
        match self.root_of(asid) {
            None => Err(Refusal::FailedLookup {
                source: false,
                lost: Lost::InvalidRoot,
            }),
            Some(other) if other != root => Err(Refusal::InvalidCapability(1)),
            Some(_) => Ok(()),
        }
    }

    pub fn invoke_table(&mut self, inv: &Invocation, at: Addr, mapped: Mapped) -> Answer {
        match inv.label {
            Some(Label::PageTableMap) => {
                inv.need(2)?;
                let root = inv.extra(0)?;
                if mapped.is_some() {
                    return Err(Refusal::InvalidCapability(0));
                }
                let vaddr = self.arg(inv, 0);
                let (asid, root) = self.space_in(root)?;
                if vaddr >= USER_TOP {
                    return Err(Refusal::InvalidArgument(0));
                }
                self.must_be_root(asid, root)?;
                let (table, bits) = self.walk(root, vaddr);
                if bits == PAGE_BITS || self.entry(table, vaddr, bits).is_some() {
                    return Err(Refusal::DeleteFirst);
                }
                let mapped = Some((asid, vaddr & !low(bits)));
                self.set_cap(inv.place, Cap::Table { at, mapped });
                self.set_entry(table, vaddr, bits, Some(Translation::Table(at)));
            }
            Some(Label::PageTableUnmap) => {
                if !self.is_last(inv.place) {
                    return Err(Refusal::RevokeFirst);
                }
                if let Some((asid, vaddr)) = mapped {
                    if self.root_of(asid) == Some(at) {
                        return Err(Refusal::RevokeFirst);
                    }
                    self.unmap_table(asid, vaddr, at);
                    self.tables.insert(at, Default::default());
                    self.set_cap(inv.place, Cap::Table { at, mapped: None });
                }
            }
            _ => return Err(Refusal::IllegalOperation),
        }
        DONE
    }

    pub fn invoke_frame(&mut self, inv: &Invocation, frame: Cap) -> Answer {
        let Cap::Frame {
            at,
            bits,
            read,
            write,
            device,
            mapped,
        } = frame
        else {
            unreachable!("called with frames");
        };
        let with = |mapped| Cap::Frame {
            at,
            bits,
            read,
            write,
            device,
            mapped,
        };
        match inv.label {
            Some(Label::PageMap) => {
                inv.need(3)?;
                let root = inv.extra(0)?;
                let vaddr = self.arg(inv, 0);
                let rights = Rights::of(CapRights::from_word(self.arg(inv, 1)));
                let attributes = VmAttributes::from_word(self.arg(inv, 2));
                let (asid, root) = self.space_in(root)?;
                self.must_be_root(asid, root)?;
                if u128::from(vaddr) + (1 << bits) > u128::from(USER_TOP) {
                    return Err(Refusal::InvalidArgument(0));
                }
                if vaddr & low(bits) != 0 {
                    return Err(Refusal::Alignment);
                }
                let (table, found) = self.walk(root, vaddr);
                if found != bits {
                    return Err(Refusal::FailedLookup {
                        source: false,
                        lost: Lost::Missing { left: found },
                    });
                }
                let there = self.entry(table, vaddr, bits);
                match mapped {
                    Some((other, _)) if other != asid => {
                        return Err(Refusal::InvalidCapability(1));
                    }
                    Some((_, other)) if other != vaddr => {
                        return Err(Refusal::InvalidArgument(0));
                    }
                    Some(_) => {}
                    None if there.is_some() => return Err(Refusal::DeleteFirst),
                    None => {}
                }
                let read = read && rights.receive;
                let write = read && write && rights.send;
                let execute = !attributes.is_execute_never();
                self.set_cap(inv.place, with(Some((asid, vaddr))));
                let to = Translation::Frame {
                    at,
                    read,
                    write,
                    execute,
                };
                let to = (read || execute).then_some(to);
                self.set_entry(table, vaddr, bits, to);
            }
            Some(Label::PageUnmap) => {
                if let Some((asid, vaddr)) = mapped {
                    self.unmap_frame(asid, vaddr, at, bits);
                }
                self.set_cap(inv.place, with(None));
            }
            Some(Label::PageGetAddress) => return Ok(vec![at]),
            _ => return Err(Refusal::IllegalOperation),
        }
        DONE
    }

    pub fn make_pool(&mut self, inv: &Invocation) -> Answer {
        if inv.label != Some(Label::AsidControlMakePool) {
            return Err(Refusal::IllegalOperation);
        }
        inv.need(2)?;
        let (parent, root) = (inv.extra(0)?, inv.extra(1)?);
        let bases = (0..1 << NUM_ASID_POOLS_BITS).map(|number| number << ASID_POOL_INDEX_BITS);
        let free = bases
            .into_iter()
            .find(|base| !self.pool_of.contains_key(base));
        let base = free.ok_or(Refusal::DeleteFirst)?;
        let Some(Cap::Untyped {
            at,
            bits: bits @ ASID_POOL_BITS,
            device: device @ false,
            ..
        }) = self.cap(parent)
        else {
            return Err(Refusal::InvalidCapability(1));
        };
        self.must_be_childless(parent)?;
        let (index, depth) = (self.arg(inv, 0), self.arg(inv, 1));
        let dest = self.lookup_at(self.cap(root), index, depth, false)?;
        self.must_be_empty(dest)?;
        let used = 1 << bits;
        self.set_cap(
            parent,
            Cap::Untyped {
                at,
                bits,
                device,
                used,
            },
        );
        self.memory
            .retain(|&piece, _| piece < at || piece >= at + used);
        self.insert(Cap::AsidPool { at, base }, parent, dest);
        self.pools.insert(at, Default::default());
        self.pool_of.insert(base, at);
        DONE
    }

    pub fn assign_asid(&mut self, inv: &Invocation, pool: Addr, base: u64) -> Answer {
        if inv.label != Some(Label::AsidPoolAssign) {
            return Err(Refusal::IllegalOperation);
        }
        let place = inv.extra(0)?;
        let Some(Cap::Table { at, mapped: None }) = self.cap(place) else {
            return Err(Refusal::InvalidCapability(1));
        };
        match self.pool_of.get(&base) {
            None => {
                return Err(Refusal::FailedLookup {
                    source: false,
                    lost: Lost::InvalidRoot,
                });
            }
            Some(&other) if other != pool => return Err(Refusal::InvalidCapability(0)),
            Some(_) => {}
        }
        let taken = self.pools.entry(pool).or_default();
        let indices = 0..1 << ASID_POOL_INDEX_BITS;
        // Identifier 0 is nobody's.
        let free = indices
            .into_iter()
            .find(|index| base + index != 0 && !taken.contains_key(index));
        let index = free.ok_or(Refusal::DeleteFirst)?;
        taken.insert(index, at);
        let mapped = Some((base + index, 0));
        self.set_cap(place, Cap::Table { at, mapped });
        DONE
    }
}
