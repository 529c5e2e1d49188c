//! What a process can be told to do.

use crate::corpus;
use crate::recording;
use crate::shared::{CLIENTS, role, said};
use alloc::format;
use alloc::rc::Rc;
use baton_kv::board::Scoreboard;
use baton_kv::client::{BULK_BYTES, Client, PIECE_BYTES, Plan, RESULT_BYTES};
use baton_kv::expected::Expected;
use baton_kv::index::IndexService;
use baton_kv::services::{
    BoardClient, BoardServer, IndexClient, IndexServer, KvClient, KvServer, Phase,
};
use baton_kv::store::Store;
use baton_kv::tally::{Counted, Totals};
use baton_platform::{
    Grants, NodeConfig, ServiceCap, ServiceNumber, User, UserHandle, UserNode, Wants,
};
use baton_rpc::{Band, Config, Interface, Mode, Service};
use baton_runtime::sel4::Message;
use baton_runtime::{StartInfo, println};

/// Requests that each client has under way.
const OUTSTANDING: u32 = 32;
/// Requests that the index may have under way with the store, for all its own clients together.
const INDEX_CREDITS: u32 = 32;
/// Requests that each has under way with the board.
const BOARD_CREDITS: u32 = 4;
/// How long each phase of questions lasts.
const PHASE_NS: u64 = 100_000_000;

/// Does what the first argument says.
pub fn run(info: &'static StartInfo) -> u64 {
    let config = NodeConfig {
        config: Config {
            tasks: 512,
            timers: 16,
            quantum: 64,
        },
        trace_events: recording::EVENTS,
    };
    let node = match UserNode::start(info, config) {
        Ok(node) => node,
        Err(error) => panic!("no node: {error}"),
    };
    let handle = node.handle();
    let process = Process { info, node, handle };
    match info.argument(0) {
        role::BOARD => process.board(),
        role::STORE => process.store(),
        role::INDEX => process.index(),
        role::CLIENT => process.client(),
        other => panic!("there is no role {other}"),
    }
}

struct Process {
    info: &'static StartInfo,
    node: UserNode,
    handle: UserHandle,
}

impl Process {
    fn run<F: Future>(&self, future: F) -> F::Output {
        match self.node.run_until(Mode::Park, future) {
            Ok(output) => output,
            Err(error) => panic!("the node does not run: {error}"),
        }
    }

    fn say(&self, what: u64) {
        self.info.parent().send(&Message::new(what, &[]));
    }

    /// Serves clients with so many credits, and says so.
    fn serve<S: Service<User>>(&self, service: Rc<S>, credits: u32, bulk_bytes: u32) {
        self.serve_and_call(service, credits, bulk_bytes, |_, _| {});
    }

    fn serve_and_call<S: Service<User>>(
        &self,
        service: Rc<S>,
        credits: u32,
        bulk_bytes: u32,
        connected: impl Fn(baton_rpc::Client<User>, baton_platform::PeerInfo) + 'static,
    ) {
        let number = ServiceNumber(self.info.argument(1) as u32);
        let grants = Grants {
            max_credits: credits,
            max_request_bulk_bytes: bulk_bytes,
            max_answer_bulk_bytes: bulk_bytes,
            ..Grants::default()
        };
        let served = self
            .handle
            .serve_and_call(number, service, &grants, Band::NORMAL, connected);
        if let Err(error) = served {
            panic!("cannot serve: {error}");
        }
        self.say(said::READY);
    }

    fn connect(
        &self,
        service: u64,
        interface: Interface,
        credits: u32,
        bulk_bytes: u32,
    ) -> baton_rpc::Client<User> {
        let wants = Wants {
            credits,
            request_bulk_bytes: bulk_bytes,
            answer_bulk_bytes: bulk_bytes,
            ..Wants::default()
        };
        match self
            .handle
            .connect(ServiceCap::given(service), interface, &wants)
        {
            Ok(client) => client,
            Err(error) => panic!("no connection to {}: {error}", interface.name),
        }
    }

    fn board_client(&self) -> BoardClient<User> {
        let interface = BoardClient::<User>::INTERFACE;
        BoardClient::new(self.connect(0, interface, BOARD_CREDITS, RESULT_BYTES))
    }

    fn board(&self) -> u64 {
        let scoreboard: Rc<BoardServer<Scoreboard<Totals>>> =
            Rc::new(BoardServer(Scoreboard::new(CLIENTS as u32)));
        let first_client = self.info.argument(2) as u32;
        let (board, executor) = (scoreboard.clone(), self.handle.executor().clone());
        let connected = move |client: baton_rpc::Client<User>, peer: baton_platform::PeerInfo| {
            let board = board.clone();
            let ended = client.connection().ended();
            // Nobody waits for the dead. Without a task entry for it the others would wait: that is noticed.
            let watched = executor.spawn(async move {
                ended.await;
                board.0.bury(peer.process.wrapping_sub(first_client));
            });
            watched.map(drop).unwrap_or_else(|error| panic!("{error}"));
        };
        self.serve_and_call(scoreboard.clone(), BOARD_CREDITS, RESULT_BYTES, connected);
        let waiting = scoreboard.clone();
        self.run(async move {
            baton_kv::services::Board::reached(&waiting.0, Phase::Find).await;
        });
        self.say(said::ASKING);
        // Until the last who asks has gone: clients, store and index.
        self.run(self.handle.idle_after(CLIENTS + 2));
        verdict(&scoreboard.0.summary())
    }

    fn store(&self) -> u64 {
        let board = self.board_client();
        let store = Rc::new(KvServer(Store::default()));
        self.serve(store.clone(), OUTSTANDING.max(INDEX_CREDITS), BULK_BYTES);
        recording::start(&self.handle, &board);
        self.until_done(&board);
        recording::print(self.info, &self.handle, "store");
        println!("the store served {} requests", store.0.requests());
        0
    }

    fn index(&self) -> u64 {
        let board = self.board_client();
        let kv = self.connect(1, KvClient::<User>::INTERFACE, INDEX_CREDITS, BULK_BYTES);
        let index = Rc::new(IndexServer(IndexService::new(KvClient::new(kv))));
        self.serve(index.clone(), OUTSTANDING, BULK_BYTES);
        recording::start(&self.handle, &board);
        self.until_done(&board);
        recording::print(self.info, &self.handle, "index");
        println!("the index served {} requests", index.0.requests());
        0
    }

    /// Serves until all living clients are done.
    fn until_done(&self, board: &BoardClient<User>) {
        if let Err(error) = self.run(board.reached(Phase::Done)) {
            panic!("the board cannot be asked: {error}");
        }
    }

    fn client(&self) -> u64 {
        let number = self.info.argument(2);
        let documents = corpus::share(number, CLIENTS);
        let expected = Expected::new(&documents, PIECE_BYTES);
        println!(
            "client {number}: {} documents, {} pieces, {} bytes",
            documents.len(),
            expected.len(),
            expected.text_bytes()
        );
        let kv = self.connect(1, KvClient::<User>::INTERFACE, OUTSTANDING, BULK_BYTES);
        let index = self.connect(2, IndexClient::<User>::INTERFACE, OUTSTANDING, BULK_BYTES);
        let client = Rc::new(Client {
            number: number as u32,
            handle: self.handle.executor().clone(),
            kv: KvClient::new(kv),
            index: IndexClient::new(index),
            board: self.board_client(),
            expected,
            plan: Plan {
                outstanding: OUTSTANDING as usize,
                phase_ns: PHASE_NS,
            },
        });
        recording::start(&self.handle, &client.board);
        match self.run(client.run::<Counted>()) {
            Ok(()) => {
                let name = format!("client {number}");
                recording::print(self.info, &self.handle, &name);
                0
            }
            Err((phase, error)) => panic!("in phase {}: {error}", phase.name()),
        }
    }
}

/// Prints what all did, and says by the exit code whether all of it was right.
fn verdict(totals: &Totals) -> u64 {
    println!(
        "{:<10} {:>10} {:>11} {:>10} {:>10} {:>6}",
        "phase", "requests", "requests/s", "worst us", "verified", "wrong"
    );
    for (phase, counted) in &totals.phases {
        println!(
            "{:<10} {:>10} {:>11} {:>10} {:>10} {:>6}",
            phase.name(),
            counted.requests,
            (counted.requests * 1_000_000_000)
                .checked_div(counted.elapsed_ns)
                .unwrap_or(0),
            counted.worst_ns / 1000,
            counted.requests - counted.wrong,
            counted.wrong
        );
        if counted.wrong != 0 {
            println!("  {}", counted.first_wrong);
        }
    }
    let all = Phase::WORK.iter().all(|phase| {
        totals
            .phases
            .get(phase)
            .is_some_and(|counted| counted.requests != 0)
    });
    let wrong: u64 = totals.phases.values().map(|counted| counted.wrong).sum();
    u64::from(!all || wrong != 0)
}
