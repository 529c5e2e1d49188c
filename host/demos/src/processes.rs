//! The processes that the parent starts: how each finds the others, serves and calls.
//!
//! This is all that a program has to do with Linux: start a node, offer services under names, connect to names, run.

use crate::args::{Options, Role};
use crate::client::{BULK_BYTES, Client, PIECE_BYTES, Plan, RESULT_BYTES};
use crate::corpus::{self, CorpusError};
use crate::expected::Expected;
use crate::index::IndexService;
use crate::report::Results;
use crate::services::{
    BoardClient, Figures, IndexClient, IndexServer, KvClient, KvServer, Phase, ServerKind,
};
use crate::shift::WorkError;
use crate::store::Store;
use crate::trace::Tracing;
use baton_linux::{
    ConnectError, Grants, Linux, LinuxHandle, LinuxNode, NameError, NodeConfig, PeerInfo,
    ServeError, ServiceName, StartNodeError, Wants,
};
use baton_rpc::{Band, CallError, Config, Interface, Mode, RunError, Service};
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;

/// Requests that each process may have under way with the board.
pub const BOARD_CREDITS: u32 = 8;
/// Task entries beside those of handlers and workers.
const SPARE_TASKS: u32 = 64;

/// Why a process ended before its time.
#[derive(Debug)]
pub enum ProcessError {
    /// The name asked for cannot be one.
    Name(NameError),
    /// The node cannot begin.
    Start(StartNodeError),
    /// The service cannot be offered.
    Serve(ServeError),
    /// There is no connection to this service.
    Connect(ServiceName, ConnectError),
    /// The executor did not run.
    Run(RunError),
    /// A call to the board failed: the parent is gone.
    Board(CallError),
    /// The client's work failed.
    Work(Phase, WorkError),
    /// There is no corpus.
    Corpus(CorpusError),
    /// The trace cannot be written.
    Trace(PathBuf, std::io::Error),
}

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessError::Name(error) => error.fmt(f),
            ProcessError::Start(error) => error.fmt(f),
            ProcessError::Serve(error) => error.fmt(f),
            ProcessError::Connect(name, error) => write!(f, "cannot connect to {name}: {error}"),
            ProcessError::Run(error) => error.fmt(f),
            ProcessError::Board(error) => write!(f, "the parent cannot be asked: {error}"),
            ProcessError::Work(phase, error) => write!(f, "in phase {}: {error}", phase.name()),
            ProcessError::Corpus(error) => error.fmt(f),
            ProcessError::Trace(path, error) => {
                write!(f, "cannot write the trace {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for ProcessError {}

/// Does what the process is there for, to its end.
///
/// # Errors
///
/// [`ProcessError`].
pub fn run(options: &Options) -> Result<(), ProcessError> {
    match options.role {
        Role::Store => store(options),
        Role::Index => index(options),
        Role::Client(number) => client(options, number),
        // The parent has a module of its own.
        Role::Parent => Ok(()),
    }
}

/// Serves an empty store until all clients are done.
fn store(options: &Options) -> Result<(), ProcessError> {
    let node = start_node(
        options,
        options.clients * options.outstanding + INDEX_CREDITS,
    )?;
    let here = Here::new(&node, options)?;
    let store = Rc::new(KvServer(Store::default()));
    // The index's credits are its own affair; as a client of the store, it is one like the others.
    here.serve(
        ServerKind::Store,
        store.clone(),
        options.outstanding.max(INDEX_CREDITS),
    )?;
    here.run(&node, ServerKind::Store, || store.0.requests())
}

/// Requests that the index may have under way with the store, for all its own clients together.
const INDEX_CREDITS: u32 = 64;

/// Serves an empty index, whose texts are in the store, until all clients are done.
fn index(options: &Options) -> Result<(), ProcessError> {
    let node = start_node(options, options.clients * options.outstanding)?;
    let here = Here::new(&node, options)?;
    let kv = here.connect("store", KvClient::<Linux>::INTERFACE, INDEX_CREDITS)?;
    let index = Rc::new(IndexServer(IndexService::new(KvClient::new(kv))));
    here.serve(ServerKind::Index, index.clone(), options.outstanding)?;
    here.run(&node, ServerKind::Index, || index.0.requests())
}

/// Reads its share of the corpus, and goes through all phases.
fn client(options: &Options, number: u32) -> Result<(), ProcessError> {
    let expected = read_share(options, number)?;
    let node = start_node(options, options.outstanding)?;
    let here = Here::new(&node, options)?;
    let kv = here.connect("store", KvClient::<Linux>::INTERFACE, options.outstanding)?;
    let index = here.connect(
        "index",
        IndexClient::<Linux>::INTERFACE,
        options.outstanding,
    )?;
    let client = Rc::new(Client {
        number,
        handle: here.handle.executor().clone(),
        kv: KvClient::new(kv),
        index: IndexClient::new(index),
        board: here.board.clone(),
        expected,
        plan: Plan {
            outstanding: options.outstanding as usize,
            phase_ns: options.phase_ns(),
        },
    });
    let done = node.run_until(Mode::Adaptive, client.run::<Results>());
    done.map_err(ProcessError::Run)?
        .map_err(|(phase, error)| ProcessError::Work(phase, error))?;
    here.tracing.write()
}

fn read_share(options: &Options, number: u32) -> Result<Expected, ProcessError> {
    let dir = match &options.corpus {
        Some(dir) => dir.clone(),
        None => corpus::locate().map_err(ProcessError::Corpus)?.dir,
    };
    let files = corpus::list(&dir, options.megabytes * 1_000_000).map_err(ProcessError::Corpus)?;
    let (share, shares) = (number as usize, options.clients as usize);
    let documents = corpus::read_share(&dir, &files, share, shares);
    Ok(Expected::new(&documents, PIECE_BYTES))
}

/// Starts a node with room for so many handlers or workers.
fn start_node(options: &Options, tasks: u32) -> Result<LinuxNode, ProcessError> {
    LinuxNode::start(NodeConfig {
        name: Some(options.role.to_string()),
        config: Config {
            tasks: (tasks + SPARE_TASKS) as usize,
            ..Config::default()
        },
        trace_events: Tracing::events(options),
        ..NodeConfig::default()
    })
    .map_err(ProcessError::Start)
}

/// The name of the service `what` in this run.
///
/// # Errors
///
/// [`ProcessError::Name`] when the prefix that was asked for cannot be part of a name.
pub fn service_name(options: &Options, what: &str) -> Result<ServiceName, ProcessError> {
    ServiceName::new(&format!("{}.{what}", options.name)).map_err(ProcessError::Name)
}

/// What all processes but the parent have in common: a node's handle, and a connection to the board.
struct Here<'o> {
    options: &'o Options,
    handle: LinuxHandle,
    board: BoardClient<Linux>,
    tracing: Tracing,
}

impl<'o> Here<'o> {
    fn new(node: &LinuxNode, options: &'o Options) -> Result<Self, ProcessError> {
        let handle = node.handle();
        let name = service_name(options, "board")?;
        let wants = Wants {
            credits: BOARD_CREDITS,
            request_bulk_bytes: RESULT_BYTES,
            ..Wants::default()
        };
        let client = handle
            .connect(&name, BoardClient::<Linux>::INTERFACE, &wants)
            .map_err(|error| ProcessError::Connect(name, error))?;
        let board = BoardClient::new(client);
        let tracing = Tracing::start(options, &handle, &board);
        Ok(Here {
            options,
            handle,
            board,
            tracing,
        })
    }

    fn connect(
        &self,
        what: &str,
        interface: Interface,
        credits: u32,
    ) -> Result<baton_rpc::Client<Linux>, ProcessError> {
        let name = service_name(self.options, what)?;
        let wants = Wants {
            credits,
            request_bulk_bytes: BULK_BYTES,
            answer_bulk_bytes: BULK_BYTES,
            ..Wants::default()
        };
        let client = self.handle.connect(&name, interface, &wants);
        client.map_err(|error| ProcessError::Connect(name, error))
    }

    /// Offers a service, and tells the board of every client that goes.
    fn serve<S: Service<Linux>>(
        &self,
        kind: ServerKind,
        service: Rc<S>,
        credits: u32,
    ) -> Result<(), ProcessError> {
        let name = service_name(self.options, kind.name())?;
        let grants = Grants {
            max_credits: credits,
            max_request_bulk_bytes: BULK_BYTES,
            max_answer_bulk_bytes: BULK_BYTES,
            ..Grants::default()
        };
        let executor = self.handle.executor().clone();
        let board = self.board.clone();
        let connected = move |client: baton_rpc::Client<Linux>, peer: &PeerInfo| {
            let watch = report_end(board.clone(), client, format!("{}: {peer}", kind.name()));
            // Without a free entry nobody watches; the service itself goes on.
            let _ = executor.spawn(watch);
        };
        self.handle
            .serve_and_call(&name, service, grants, Band::NORMAL, connected)
            .map_err(ProcessError::Serve)
    }

    /// Serves until all clients are done, and reports what was done.
    fn run(
        &self,
        node: &LinuxNode,
        kind: ServerKind,
        requests: impl Fn() -> u64,
    ) -> Result<(), ProcessError> {
        let until_done = async {
            self.board.ready(kind).await?;
            self.board.reached(Phase::Done).await?;
            let figures = Figures {
                requests: requests(),
                sleeps: self.handle.executor().sleeps(),
                cpu_ms: cpu_ms().unwrap_or(0),
            };
            self.board.figures(kind, figures).await
        };
        let done = node.run_until(Mode::Adaptive, until_done);
        done.map_err(ProcessError::Run)?
            .map_err(ProcessError::Board)?;
        self.tracing.write()
    }
}

/// Waits until the connection to a client has ended, and tells the board.
async fn report_end(board: BoardClient<Linux>, client: baton_rpc::Client<Linux>, who: String) {
    let how = client.connection().ended().await;
    // When the board is gone as well, there is nobody to tell.
    if let Ok(mut buffer) = board.client().buffer().await
        && buffer.write(format!("{who}: {how}").as_bytes()).is_ok()
    {
        let _ = board.say(buffer).await;
    }
}

/// Processor time that this process has used; none where the system does not say.
fn cpu_ms() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name in parentheses may have blanks in it; user and system time are the 12th and 13th field behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    // Linux shows times to programs in hundredths of a second, whatever its own clock.
    Some((ticks()? + ticks()?) * 10)
}
