//! What a process can be told to do.
//!
//! The numbers in `shared.rs` are the root task's too.

use crate::bad;
use crate::shared::{BULK_BYTES, CREDITS, DONE, UNDER_WAY, code, mode, role, said};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use baton_exchange::{Desk, ExchangeClient, ExchangeServer, Load, Wrong, everything, until_ended};
use baton_platform::protocol::CONNECTIONS_OF_GRANT;
use baton_platform::{
    ConnectError, Grants, NodeConfig, ServiceCap, ServiceNumber, User, UserHandle, UserNode, Wants,
};
use baton_rpc::{Band, Config, Failure, Mode, next_turn};
use baton_runtime::sel4::Message;
use baton_runtime::{StartInfo, println};
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;

const SERVED: baton_rpc::Interface = ExchangeServer::<Rc<Desk>>::INTERFACE;

/// Does what the first argument says.
pub fn run(info: &'static StartInfo) -> u64 {
    let config = NodeConfig {
        config: Config {
            tasks: 2048,
            timers: 64,
            quantum: 64,
        },
        ..NodeConfig::default()
    };
    let node = match UserNode::start(info, config) {
        Ok(node) => node,
        Err(error) => panic!("no node: {error}"),
    };
    let process = Process { info, node };
    match info.argument(0) {
        role::SERVER => process.serve(),
        role::CLIENT => process.client(),
        role::BOTH => process.both(),
        role::LOOPER => process.looper(),
        role::FAULTER => process.faulter(),
        role::WITHOUT => process.without(),
        role::HOARDER => process.hoarder(),
        role::SCRIBBLER => process.scribbler(),
        role::TRESPASSER => process.trespasser(),
        other => panic!("there is no role {other}"),
    }
}

pub(crate) struct Process {
    pub(crate) info: &'static StartInfo,
    pub(crate) node: UserNode,
}

impl Process {
    fn mode(&self) -> Mode {
        match self.info.argument(1) {
            mode::ADAPTIVE => Mode::Adaptive,
            mode::POLL => Mode::Poll,
            _ => Mode::Park,
        }
    }

    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        match self.node.run_until(self.mode(), future) {
            Ok(output) => output,
            Err(error) => panic!("the node does not run: {error}"),
        }
    }

    /// Says a number to the root task.
    pub(crate) fn say(&self, what: u64, number: u64) {
        self.info.parent().send(&Message::new(what, &[number]));
    }

    pub(crate) fn wants(&self) -> Wants {
        Wants {
            // Each credit costs the server a task entry, so that sixteen of these would be too many.
            credits: match self.info.argument(0) {
                role::LOOPER | role::FAULTER => self.info.argument(2) as u32,
                role::WITHOUT => 8,
                _ => CREDITS,
            },
            offer_credits: 0,
            request_bulk_bytes: BULK_BYTES,
            answer_bulk_bytes: BULK_BYTES,
        }
    }

    fn grants(&self) -> Grants {
        Grants {
            max_credits: CREDITS,
            max_request_bulk_bytes: BULK_BYTES,
            max_answer_bulk_bytes: BULK_BYTES,
            ..Grants::default()
        }
    }

    pub(crate) fn connect(
        &self,
        handle: &UserHandle,
    ) -> Result<ExchangeClient<User>, ConnectError> {
        handle
            .connect(ServiceCap::given(0), SERVED, &self.wants())
            .map(ExchangeClient::new)
    }

    pub(crate) fn connected(&self) -> (UserHandle, ExchangeClient<User>) {
        let handle = self.node.handle();
        match self.connect(&handle) {
            Ok(desk) => (handle, desk),
            Err(error) => panic!("no connection: {error}"),
        }
    }

    /// Serves until all who came have gone.
    fn serve(&self) -> u64 {
        let handle = self.node.handle();
        let desk = Desk::new();
        let service = Rc::new(ExchangeServer(desk.clone()));
        let number = ServiceNumber(self.info.argument(2) as u32);
        if let Err(error) = handle.serve(number, service, &self.grants(), Band::NORMAL) {
            panic!("cannot serve: {error}");
        }
        self.say(said::READY, 0);
        self.run(handle.idle_after(self.info.argument(3)));
        let (turned_away, why) = handle.turned_away();
        if turned_away != 0 {
            println!("turned away {turned_away}, the last for {why:?}");
            return code::TURNED_AWAY;
        }
        if desk.handlers_waiting() != 0 {
            println!("{} handlers are left", desk.handlers_waiting());
            return code::HANDLERS_LEFT;
        }
        println!(
            "served {} requests of {} clients",
            desk.served(),
            handle.bound()
        );
        0
    }

    /// Calls all there is with more and more outstanding.
    fn client(&self) -> u64 {
        let (handle, desk) = self.connected();
        let mut right = 0;
        for outstanding in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
            let load = Load {
                client: self.info.argument(2),
                outstanding,
                requests: 400,
            };
            let body = everything(handle.executor(), &desk, load, BULK_BYTES as usize);
            match self.run(body) {
                Ok(more) => right += more,
                Err(wrong) => {
                    println!("with {outstanding} outstanding: {wrong}");
                    return code::WRONG;
                }
            }
        }
        println!("{right} answers were right");
        handle.disconnect(desk.client());
        0
    }

    /// Serves and calls at once: over a connection of its own to the other, and back over the other's.
    fn both(&self) -> u64 {
        let handle = self.node.handle();
        let desk = Desk::new();
        let number = ServiceNumber(self.info.argument(2) as u32);
        let back: Rc<core::cell::RefCell<Vec<ExchangeClient<User>>>> = Rc::default();
        let grants = Grants {
            want_back_credits: CREDITS,
            back_interface: SERVED.hash,
            ..self.grants()
        };
        let came = back.clone();
        let service = Rc::new(ExchangeServer(desk.clone()));
        let served = handle.serve_and_call(
            number,
            service.clone(),
            &grants,
            Band::NORMAL,
            move |client, _| came.borrow_mut().push(ExchangeClient::new(client)),
        );
        if let Err(error) = served {
            panic!("cannot serve: {error}");
        }
        self.say(said::READY, 0);
        // The other may not serve yet: nobody but us knows of us then, and we ask again.
        let wants = Wants {
            offer_credits: CREDITS,
            ..self.wants()
        };
        let forth = loop {
            let asked =
                handle.connect_and_serve(ServiceCap::given(0), SERVED, &wants, service.clone());
            match asked {
                Ok(client) => break ExchangeClient::new(client),
                Err(ConnectError::NotServing) => baton_runtime::sel4::yield_now(),
                Err(error) => panic!("no connection: {error}"),
            }
        };
        let load = Load {
            client: self.info.argument(2),
            outstanding: 256,
            requests: 2000,
        };
        let work = async {
            while back.borrow().is_empty() {
                next_turn().await;
            }
            let over_theirs = back.borrow()[0].clone();
            let executor = handle.executor();
            let (one, other) = join(
                everything(executor, &forth, load, BULK_BYTES as usize),
                baton_exchange::sums(executor, &over_theirs, load),
            )
            .await;
            // Who is done first serves on until the other is.
            forth.send_note(DONE, 1).await?;
            while desk.notes_of(DONE) == 0 {
                next_turn().await;
            }
            Ok::<u64, Wrong>(one? + other?)
        };
        match self.run(work) {
            Ok(right) => println!("{right} answers were right, both ways"),
            Err(wrong) => {
                println!("both ways: {wrong}");
                return code::WRONG;
            }
        }
        0
    }

    /// Calls until the connection ends, and says so when it is well under way.
    fn looper(&self) -> u64 {
        let (handle, desk) = self.connected();
        let outstanding = self.info.argument(2);
        let parent = self.info.parent();
        let progress = move |right: u64| {
            if right == UNDER_WAY {
                parent.send(&Message::new(said::UNDER_WAY, &[right]));
            }
        };
        match self.run(until_ended(handle.executor(), &desk, outstanding, progress)) {
            Ok(Failure::PeerDied) => 0,
            Ok(failure) => {
                println!("ended in {failure:?}");
                code::OTHER_END
            }
            Err(wrong) => {
                println!("until its end: {wrong}");
                code::WRONG
            }
        }
    }

    /// Faults with calls under way.
    fn faulter(&self) -> u64 {
        let (handle, desk) = self.connected();
        let outstanding = self.info.argument(2);
        let progress = |right: u64| {
            if right == UNDER_WAY {
                bad::write(0xdead_0000, 1);
            }
        };
        let ended = self.run(until_ended(handle.executor(), &desk, outstanding, progress));
        println!(
            "the write went through, and the end was {:?}",
            ended.is_ok()
        );
        code::WRONG
    }

    /// Tries to connect with what is no capability to a service, to serve what is another's, and to take all places of a service.
    fn without(&self) -> u64 {
        let handle = self.node.handle();
        let no_service = |slot: u64| {
            let asked = handle.connect(ServiceCap::new(slot), SERVED, &self.wants());
            matches!(asked.map(|_| ()), Err(ConnectError::NoService))
        };
        // Nothing; its own endpoint to the broker; its notification; its own TCB.
        for slot in [200, 4, 8, 1] {
            if !no_service(slot) {
                println!("what is in slot {slot} was taken for a service");
                return code::LET_IN;
            }
        }
        let other = baton_rpc::Interface {
            hash: SERVED.hash ^ 1,
            ..SERVED
        };
        let asked = handle.connect(ServiceCap::given(0), other, &self.wants());
        if !matches!(asked.map(|_| ()), Err(ConnectError::Interface { .. })) {
            return code::LET_IN;
        }
        let foreign = ServiceNumber(self.info.argument(2) as u32);
        let service = Rc::new(ExchangeServer(Desk::new()));
        if handle
            .serve(foreign, service, &self.grants(), Band::NORMAL)
            .is_ok()
        {
            println!("it may serve a service of another process");
            return code::LET_IN;
        }
        // Not all places of the service, however often it asks.
        let mut connections = Vec::new();
        loop {
            match self.connect(&handle) {
                Ok(desk) => connections.push(desk),
                Err(ConnectError::GrantInUse) => break,
                Err(error) => {
                    println!("connection {}: {error}", connections.len());
                    return code::LET_IN;
                }
            }
        }
        if connections.len() != CONNECTIONS_OF_GRANT {
            println!("{} connections", connections.len());
            return code::LET_IN;
        }
        // All of them work, and a place that is given back can be taken again.
        for desk in &connections {
            if self.run(desk.add(1, 2)) != Ok(3) {
                return code::WRONG;
            }
        }
        if let Some(desk) = connections.pop() {
            handle.disconnect(desk.client());
            let connection = desk.client().connection().clone();
            drop(desk);
            self.run(connection.ended());
            drop(connection);
        }
        // The place is free when the lanes have left the scan.
        let again = self.run(async {
            loop {
                match self.connect(&handle) {
                    Err(ConnectError::GrantInUse) => next_turn().await,
                    other => break other,
                }
            }
        });
        match again {
            Ok(_) => 0,
            Err(_) => code::WRONG,
        }
    }

    /// Does not let go of a connection that has ended, and looks at its memory when that has been taken back.
    fn hoarder(&self) -> u64 {
        let (handle, desk) = self.connected();
        let held = async {
            let mut buffer = desk.client().buffer().await?;
            buffer.write(b"hoarded")?;
            let answer = desk.turned(buffer).await?;
            self.say(said::UNDER_WAY, 0);
            let failure = desk.client().connection().ended().await;
            Ok::<_, Wrong>((answer, failure))
        };
        let (answer, failure) = match self.run(held) {
            Ok(held) => held,
            Err(wrong) => {
                println!("{wrong}");
                return code::WRONG;
            }
        };
        if failure != Failure::PeerDied {
            println!("ended in {failure:?}");
            return code::OTHER_END;
        }
        // What came before the end is there as long as we hold it.
        if answer.to_vec() != b"dedraoh" {
            println!("it reads {:?}", text(&answer.to_vec()));
            return code::WRONG;
        }
        // The root task takes it back by force before it answers.
        self.info.parent().call(&Message::new(said::HOLDS, &[]));
        if answer.to_vec() != [0; 7] {
            println!("it still reads {:?}", text(&answer.to_vec()));
            return code::WRONG;
        }
        drop((answer, desk));
        let _ = handle;
        0
    }
}

fn text(bytes: &[u8]) -> String {
    format!("{:?}", core::str::from_utf8(bytes))
}

/// Waits for both.
async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut from_a, mut from_b) = (None, None);
    poll_fn(|context| {
        if from_a.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(context)
        {
            from_a = Some(output);
        }
        if from_b.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(context)
        {
            from_b = Some(output);
        }
        match (from_a.take(), from_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (from_a, from_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}
