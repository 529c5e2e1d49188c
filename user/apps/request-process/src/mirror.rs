//! The service: what comes in goes back.

use crate::shared::{CREDITS, said};
use alloc::rc::Rc;
use alloc::vec::Vec;
use baton_inbox::Publication;
use baton_platform::{Grants, ServiceNumber, UserNode};
use baton_rpc::{Band, Mode, service};
use baton_runtime::sel4::Message;
use baton_runtime::{StartInfo, println};
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// What is measured, and how the clients begin together.
#[service]
pub trait Mirror {
    /// Gives back two words.
    async fn two(&self, words: [u64; 2]) -> [u64; 2];
    /// Gives back four words.
    async fn four(&self, words: [u64; 4]) -> [u64; 4];
    /// Gives back six words.
    async fn six(&self, words: [u64; 6]) -> [u64; 6];
    /// Answers when every client has called it as often.
    async fn begin(&self) -> u64;
}

/// The handler.
pub struct Plain {
    clients: u64,
    /// Clients that have called `begin` since it was last answered.
    came: Cell<u64>,
    /// How often it was answered.
    begun: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Mirror for Plain {
    async fn two(&self, words: [u64; 2]) -> [u64; 2] {
        words
    }

    async fn four(&self, words: [u64; 4]) -> [u64; 4] {
        words
    }

    async fn six(&self, words: [u64; 6]) -> [u64; 6] {
        words
    }

    async fn begin(&self) -> u64 {
        let turn = self.begun.get();
        self.came.set(self.came.get() + 1);
        if self.came.get() == self.clients {
            self.came.set(0);
            self.begun.set(turn + 1);
            for waker in self.waiting.take() {
                waker.wake();
            }
        }
        poll_fn(|context| {
            if self.begun.get() != turn {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
        turn
    }
}

/// Serves until all clients have come and gone.
pub fn serve<U: Publication>(info: &'static StartInfo, node: &UserNode<U>, mode: Mode) -> u64 {
    let handle = node.handle();
    let clients = info.argument(4);
    let service = Rc::new(MirrorServer(Plain {
        clients,
        came: Cell::new(0),
        begun: Cell::new(0),
        waiting: RefCell::default(),
    }));
    let number = ServiceNumber(info.argument(3) as u32);
    let grants = Grants {
        max_credits: CREDITS,
        ..Grants::default()
    };
    if let Err(error) = handle.serve(number, service, &grants, Band::NORMAL) {
        panic!("cannot serve: {error}");
    }
    info.parent().send(&Message::new(said::READY, &[]));
    if let Err(error) = node.run_until(mode, handle.idle_after(clients)) {
        panic!("the executor does not run: {error}");
    }
    let (turned_away, why) = handle.turned_away();
    if turned_away != 0 {
        println!("turned away {turned_away} clients, the last for {why:?}");
        return 1;
    }
    0
}
