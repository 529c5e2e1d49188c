//! What a turn attends to only now and then: connections that arrive or leave, and credits that come back by a head.
//!
//! Binding and unbinding may happen inside a task, in the middle of a turn. So both only note what is to be done, and the next
//! turn does it before it drains.
//!
//! Invariant: what has a port, is scanned and stands in the directory changes here only, but that it enters the directory when
//! it is bound. A number is free again only when its port has gone.
//!
//! Neighbours: `node` binds and unbinds; `source` attends at the beginning of a turn, and settles in the last look.

use crate::connection::Connection;
use crate::node::Inner;
use crate::port::{Looks, Ports, bits};
use alloc::rc::Rc;
use alloc::vec::Vec;
use baton_executor::NO_TASK;
use baton_inbox::Platform;
use baton_trace::Step;

impl<P: Platform> Inner<P> {
    /// Puts arrived connections into the scan and takes those that leave out of it.
    pub(crate) fn come_and_go(&self, held: &mut Looks<P>) {
        if self.arriving.borrow().is_empty() && self.ledger.leaving.get() == 0 {
            return;
        }
        let arriving = core::mem::take(&mut *self.arriving.borrow_mut());
        let leaving = self.ledger.leaving.replace(0);
        let mut ports = Ports::clone(&self.ports.borrow());
        let handle = &self.ledger.handle;
        for port in arriving {
            let index = port.connection.index();
            self.scan.bind(u32::from(index), port.connection.band());
            handle.event(Step::Bound, index, NO_TASK, 0, 0);
            // What was written since it was bound could not be rung for: it had no port.
            port.connection.mark_dirty();
            ports.set(index.into(), Some(Rc::new(port)));
        }
        let mut gone = Vec::new();
        for index in bits(leaving) {
            self.scan.unbind(index);
            let unsettled = &self.ledger.unsettled;
            unsettled.set(unsettled.get() & !(1 << index));
            if let Some(port) = ports.set(index, None) {
                handle.event(Step::Unbound, index as u16, NO_TASK, 0, 0);
                let mut directory = self.directory.borrow_mut();
                directory.retain(|connection| !Rc::ptr_eq(connection, &port.connection));
                gone.push(port);
            }
            self.taken.set(self.taken.get() & !(1 << index));
        }
        handle.set_hinted(self.scan.is_hinted());
        let before = self.ports.replace(Rc::new(ports));
        *held = Looks::at(self.ports());
        // Dropping handlers may run anybody's code, so it comes last.
        drop((before, gone));
    }

    /// Gets back what heads have freed, and sends CANCELs that wait for that.
    #[cold]
    #[inline(never)]
    pub(crate) fn settle(&self, ports: &Ports<P>) {
        let unsettled = self.ledger.unsettled.replace(0);
        if unsettled == 0 {
            return;
        }
        for index in bits(unsettled) {
            if let Some(port) = ports.get(index)
                && port.connection.failure().is_none()
                && port.connection.settle()
            {
                port.connection.mark_unsettled();
            }
        }
    }

    /// What was written over a connection that was bound in this very turn goes out in the next, when it has arrived.
    #[cold]
    pub(crate) fn keep_for_arrival(&self, dirty: u64) {
        let arriving = self.arriving.borrow();
        if arriving.iter().any(|port| port.connection.bit & dirty != 0) {
            self.ledger.dirty.set(self.ledger.dirty.get() | dirty);
        }
    }
}

impl<P: Platform> Connection<P> {
    /// Has the executor take this connection out of the scan.
    pub(crate) fn leave(&self) {
        let leaving = &self.ledger.leaving;
        leaving.set(leaving.get() | self.bit);
        self.ledger.handle.attend();
    }
}
