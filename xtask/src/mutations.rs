//! The deliberate mistakes of `cargo xtask mutate`: each is a place in the kernel's core, and what it becomes.
//!
//! Invariant: `from` occurs exactly once in its file (a test looks), so that a change of the kernel that touches one of
//! these places brings its author here.

/// A mistake.
pub struct Mutation {
    /// What the command line calls it.
    pub name: &'static str,
    /// What it would mean for users.
    pub about: &'static str,
    /// The file, from `kernel/core/src/` on.
    pub file: &'static str,
    /// What stands there.
    pub from: &'static str,
    /// What stands there instead.
    pub to: &'static str,
}

/// All of them, by object.
pub const MUTATIONS: &[Mutation] = &[
    // -- Untyped memory --
    Mutation {
        name: "watermark-stays",
        about: "the next objects are made of the same memory",
        file: "untyped.rs",
        from: "used: end.since(address),",
        to: "used: start,",
    },
    Mutation {
        name: "memory-not-cleared",
        about: "new objects show what others left",
        file: "untyped.rs",
        from: "self.mem.zero(address.add(left), chunk);",
        to: "",
    },
    Mutation {
        name: "retype-ignores-children",
        about: "memory in use is made into new objects",
        file: "untyped.rs",
        from: "let reset = self.ensure_no_children(inv.slot).is_ok();",
        to: "let reset = true;",
    },
    Mutation {
        name: "device-kernel-objects",
        about: "kernel objects in device memory",
        file: "untyped.rs",
        from: "if device && !kind.is_frame() && kind != ObjectType::Untyped {",
        to: "if false {",
    },
    Mutation {
        name: "untyped-copy-shares",
        about: "original and copy make objects of the same memory",
        file: "derivation.rs",
        from: "source.set_cap(full.encode());",
        to: "let _ = full;",
    },
    // -- Capabilities --
    Mutation {
        name: "rights-not-masked",
        about: "a copy of an endpoint keeps all rights",
        file: "rights.rs",
        from: "Cap::Endpoint {\n                address,\n                badge,\n                rights: rights.intersection(mask),",
        to: "Cap::Endpoint {\n                address,\n                badge,\n                rights,",
    },
    Mutation {
        name: "badge-given-twice",
        about: "who has a badged capability makes one with any badge",
        file: "rights.rs",
        from: "if preserve || badge != 0 =>",
        to: "if preserve && badge != 0 =>",
    },
    Mutation {
        name: "guard-ignored",
        about: "capability pointers resolve that should not",
        file: "cspace.rs",
        from: "if guard_bits > bits_left || guard != data.guard() {",
        to: "if guard_bits > bits_left {",
    },
    Mutation {
        name: "wrong-parent",
        about: "new objects are in nobody's derivation",
        file: "derivation.rs",
        from: "self.link_after(parent, dest, FLAGS);",
        to: "self.insert_root_cap(dest, Cap::decode(cap));",
    },
    Mutation {
        name: "badged-not-revocable",
        about: "revoking a badged capability spares its copies",
        file: "derivation.rs",
        from: "kind::ENDPOINT | kind::NOTIFICATION => new[1] != source[1],",
        to: "kind::ENDPOINT | kind::NOTIFICATION => false,",
    },
    Mutation {
        name: "last-seen-from-one-side",
        about: "objects end while a capability is left",
        file: "derivation.rs",
        from: "!same(self.prev_slot(slot)) && !same(self.next_slot(slot))",
        to: "!same(self.prev_slot(slot))",
    },
    Mutation {
        name: "swap-forgets-neighbours",
        about: "rotating two neighbours tears the derivation tree",
        file: "derivation.rs",
        from: "self.point_neighbours(prev_second, next_second, first_address);",
        to: "",
    },
    Mutation {
        name: "preempted-is-done",
        about: "an interrupted revoke reports success with a part of it done",
        file: "delete.rs",
        from: "self.delete(next)?;\n            self.preemption_point()?;",
        to: "self.delete(next)?;\n            if self.preemption_point().is_err() {\n                return Ok(());\n            }",
    },
    Mutation {
        name: "full-slot-overwritten",
        about: "copying over a capability loses it from the tree",
        file: "derivation.rs",
        from: "if kind_of(slot.cap_first()) == kind::NULL {\n            Ok(())",
        to: "if kind_of(slot.cap_first()) != u64::MAX {\n            Ok(())",
    },
    // -- IPC --
    Mutation {
        name: "send-without-right",
        about: "whoever may receive may also send",
        file: "syscall.rs",
        from: "} if rights.contains(CapRights::WRITE) && info.extra_caps() == 0 => {\n                let how",
        to: "} if info.extra_caps() == 0 => {\n                let how",
    },
    Mutation {
        name: "signal-without-right",
        about: "whoever may wait may also signal",
        file: "syscall.rs",
        from: "} if rights.contains(CapRights::WRITE) && info.extra_caps() == 0 => {\n                self.send_signal",
        to: "} if info.extra_caps() == 0 => {\n                self.send_signal",
    },
    Mutation {
        name: "receive-without-right",
        about: "whoever may send may also receive",
        file: "syscall.rs",
        from: "} if rights.contains(CapRights::READ) => {\n                    // Whoever",
        to: "} if rights.contains(CapRights::READ) || true => {\n                    // Whoever",
    },
    Mutation {
        name: "grant-not-needed",
        about: "capabilities go along without the right to grant",
        file: "transfer.rs",
        from: "let with_caps = grant && info.extra_caps() != 0;",
        to: "let with_caps = (grant || true) && info.extra_caps() != 0;",
    },
    Mutation {
        name: "reply-not-used-up",
        about: "a reply capability answers again and again",
        file: "reply.rs",
        from: "self.transfer(sender, None, 0, grant, receiver);\n            self.delete_reply(slot);",
        to: "self.transfer(sender, None, 0, grant, receiver);",
    },
    Mutation {
        name: "reply-survives-receive",
        about: "the next caller finds the slot of the last one's reply full",
        file: "syscall.rs",
        from: "self.delete_caller_cap(current);",
        to: "",
    },
    Mutation {
        name: "cancel-all-badges",
        about: "cancelling the sends of one badge cancels those of all",
        file: "cancel.rs",
        from: "if tcb.blocking_badge.get() == badge {",
        to: "if tcb.blocking_badge.get() == badge || true {",
    },
    Mutation {
        name: "all-sent-away-at-once",
        about: "deleting an endpoint keeps interrupts waiting for as many threads as waited there",
        file: "cancel.rs",
        from: "self.send_away(queue, tcb);\n            self.preemption_point()?;",
        to: "self.send_away(queue, tcb);",
    },
    Mutation {
        name: "cancellation-begins-anew",
        about: "a cancellation that is preempted again and again never ends",
        file: "cancel.rs",
        from: "looked_at: still_there(&kept.looked_at, LOOKED_AT),",
        to: "looked_at: None,",
    },
    Mutation {
        name: "cancellation-without-end",
        about: "senders that send again keep a cancellation busy for ever",
        file: "cancel.rs",
        from: "last: still_there(&kept.last, LAST_TO_CANCEL),",
        to: "last: self.mem.get_or_null(Paddr::new(endpoint.tail.get())),",
    },
    Mutation {
        name: "cancellation-loses-its-place",
        about: "a cancellation starts again when where it stood is suspended",
        file: "tcb.rs",
        from: "self.leave_cancellation(tcb);",
        to: "",
    },
    Mutation {
        name: "cancellation-of-another",
        about: "a thread that was made to do something else skips senders when it next cancels",
        file: "tcb_decode.rs",
        from: "self.abandon_cancellation(tcb);",
        to: "",
    },
    Mutation {
        name: "signals-overwrite",
        about: "the second signal makes the first one's badge vanish",
        file: "notification.rs",
        from: "notification.badge.set(notification.badge.get() | badge)",
        to: "notification.badge.set(badge)",
    },
    Mutation {
        name: "binding-dangles",
        about: "a deleted thread stays bound to its notification",
        file: "delete.rs",
        from: "self.unbind_notification(tcb);",
        to: "",
    },
    // -- Threads --
    Mutation {
        name: "priority-unbounded",
        about: "a thread gives more priority than its authority has",
        file: "tcb_decode.rs",
        from: "if priority > max {",
        to: "if false && priority > max {",
    },
    Mutation {
        name: "endless-time-slice",
        about: "a thread never lets its equals run",
        file: "scheduler.rs",
        from: "self.append(current);\n                self.reschedule();",
        to: "",
    },
    Mutation {
        name: "fpu-not-saved",
        about: "threads see one another's floating-point registers",
        file: "fpu.rs",
        from: "self.machine.load_fpu(&tcb.fpu);",
        to: "",
    },
    Mutation {
        name: "deleted-thread-stays-queued",
        about: "the scheduler runs a thread whose memory is another's",
        file: "tcb.rs",
        from: "self.dequeue(tcb);\n        self.drop_candidate(tcb);",
        to: "self.drop_candidate(tcb);",
    },
    Mutation {
        name: "fault-reply-always-resumes",
        about: "a handler cannot leave a faulting thread stopped",
        file: "reply.rs",
        from: "if restart {",
        to: "if restart || true {",
    },
    // -- Address spaces --
    Mutation {
        name: "unmapped-not-flushed",
        about: "an unmapped page can still be used",
        file: "vspace/page.rs",
        from: "place.entry.set(Entry::NONE.0);\n            self.machine.flush_page(vaddr, asid);",
        to: "place.entry.set(Entry::NONE.0);",
    },
    Mutation {
        name: "deleted-frame-stays-mapped",
        about: "memory that was given away can still be used",
        file: "vspace.rs",
        from: "} if asid != 0 => self.unmap_page(size, asid, vaddr, address),",
        to: "} if asid == u64::MAX => self.unmap_page(size, asid, vaddr, address),",
    },
    Mutation {
        name: "read-only-is-writable",
        about: "a read-only capability maps its frame for writing",
        file: "vspace/page.rs",
        from: "let both = cap.intersection(mask).intersection(CapRights::READ_WRITE);",
        to: "let both = mask.union(cap.intersection(mask)).intersection(CapRights::READ_WRITE);",
    },
    Mutation {
        name: "above-user-space",
        about: "a page is mapped where the kernel is",
        file: "vspace/page.rs",
        from: "if vaddr.checked_add(last).is_none_or(|end| end >= USER_TOP) {",
        to: "if vaddr.checked_add(last).is_none() {",
    },
    Mutation {
        name: "reused-identifier-not-flushed",
        about: "a new address space sees what an old one had mapped",
        file: "vspace/asid.rs",
        from: "self.machine.fence_tables();",
        to: "",
    },
    // -- Interrupts and domains --
    Mutation {
        name: "two-handlers",
        about: "an interrupt that is taken is given again",
        file: "irq.rs",
        from: "return Err(SyscallError::RevokeFirst.into());",
        to: "",
    },
    Mutation {
        name: "level-given-back-at-once",
        about: "a device that is not yet seen to interrupts for ever",
        file: "irq.rs",
        from: "state::LEVEL => self.deliver_irq(irq),",
        to: "state::LEVEL => {\n                self.deliver_irq(irq);\n                self.machine.complete_interrupt(irq);\n            }",
    },
    Mutation {
        name: "any-domain",
        about: "a thread is put into a domain that there is not",
        file: "domain.rs",
        from: "if domain >= DOMAINS as u64 {\n            return Err(SyscallError::InvalidArgument(0).into());",
        to: "if domain >= DOMAINS as u64 + 1 {\n            return Err(SyscallError::InvalidArgument(0).into());",
    },
];
