//! `tokio_uds`: tokio over a Unix stream socket with length framing written by hand.
//!
//! A frame is a little-endian 32-bit length (48) and 48 bytes, whose first eight are a serial number. The client keeps a
//! window of frames outstanding: it parses all answers that one read brought, and sends as many new requests with one
//! write. The server has one task a connection, which parses all requests of one read and answers them with one
//! write. Reads go into a `BytesMut` of 64 KiB by `read_buf`, as tokio's framing tutorial does; both buffers are reused.
//!
//! Both sides use the current-thread runtime: each process stands on one core, where the multi-thread scheduler
//! could only add its own wakes. tokio knows no way to stay awake: with nothing to do it sleeps in `epoll_wait`, in
//! `w1_awake` too, which is W1 with each side on a core of its own.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net;

use baton_bench_harness::{
    Calibrator, Driver, Group, HarnessError, Job, LatencyRecorder, RateMeter, RoleContext, RoleFn,
    Sample, Shape, Workload,
};
use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

const PAYLOAD_BYTES: usize = 48;
const FRAME_BYTES: usize = 4 + PAYLOAD_BYTES;
const BUFFER_BYTES: usize = 64 * 1024;

/// The roles of this peer.
pub const ROLES: [(&str, RoleFn); 2] = [("tokio_uds/server", server), ("tokio_uds/client", client)];

/// The driver of this peer.
pub struct TokioUds;

impl Driver for TokioUds {
    fn peer(&self) -> &'static str {
        "tokio_uds"
    }

    fn shapes(&self) -> Vec<Shape> {
        socket_shapes()
    }

    fn sample(&mut self, job: &Job, calibrator: &mut Calibrator) -> Result<Sample, HarnessError> {
        Group::new(*job, 0)?.run_server_and_clients(
            "tokio_uds/server",
            "tokio_uds/client",
            calibrator,
        )
    }
}

/// What a peer that sleeps by itself can run.
pub fn socket_shapes() -> Vec<Shape> {
    vec![
        Shape::new(Workload::W1Awake, 1, 1),
        Shape::new(Workload::W1Asleep, 1, 1),
        Shape::new(Workload::W2, 1, 64),
        Shape::new(Workload::W2, 1, 256),
        Shape::new(Workload::W2, 4, 64),
        Shape::new(Workload::W2, 4, 256),
    ]
}

/// Runs `work` on a current-thread runtime of tokio.
pub fn block_on<T>(work: impl Future<Output = Result<T, HarnessError>>) -> Result<T, HarnessError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| HarnessError::os("tokio runtime", source))?;
    runtime.block_on(work)
}

/// Binds the abstract socket of this group.
pub fn listen(context: &RoleContext) -> Result<UnixListener, HarnessError> {
    let bind = || -> std::io::Result<UnixListener> {
        let listener =
            net::UnixListener::bind_addr(&net::SocketAddr::from_abstract_name(&context.key)?)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    };
    bind().map_err(|source| HarnessError::os("listen", source))
}

/// Connects to the abstract socket of this group.
pub fn connect(context: &RoleContext) -> Result<UnixStream, HarnessError> {
    let connect = || -> std::io::Result<UnixStream> {
        let stream =
            net::UnixStream::connect_addr(&net::SocketAddr::from_abstract_name(&context.key)?)?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    };
    connect().map_err(|source| HarnessError::os("connect", source))
}

fn server(context: &RoleContext) -> Result<(), HarnessError> {
    block_on(async {
        let listener = listen(context)?;
        context.announce_ready();
        let mut connections = Vec::new();
        for _ in 0..context.job.shape.clients {
            let (stream, _) = listener
                .accept()
                .await
                .map_err(|source| HarnessError::os("accept", source))?;
            connections.push(tokio::spawn(serve(stream)));
        }
        for connection in connections {
            connection
                .await
                .map_err(|error| HarnessError::Role(error.to_string()))??;
        }
        Ok(())
    })
}

/// Echoes until the client closes the connection.
async fn serve(mut stream: UnixStream) -> Result<(), HarnessError> {
    let mut input = BytesMut::with_capacity(BUFFER_BYTES);
    let mut output = BytesMut::with_capacity(BUFFER_BYTES);
    loop {
        input.reserve(BUFFER_BYTES / 2);
        let count = stream
            .read_buf(&mut input)
            .await
            .map_err(|source| HarnessError::os("read", source))?;
        if count == 0 {
            return Ok(());
        }
        while let Some(payload) = take_frame(&mut input)? {
            put_frame(&mut output, &payload);
        }
        stream
            .write_all(&output)
            .await
            .map_err(|source| HarnessError::os("write", source))?;
        output.clear();
    }
}

/// Takes a whole frame off the front, if there is one.
#[inline]
fn take_frame(input: &mut BytesMut) -> Result<Option<[u8; PAYLOAD_BYTES]>, HarnessError> {
    let Some((length, rest)) = input.split_first_chunk::<4>() else {
        return Ok(None);
    };
    if u32::from_le_bytes(*length) != PAYLOAD_BYTES as u32 {
        return Err(HarnessError::Role("frame of a wrong length".into()));
    }
    let Some(payload) = rest.first_chunk::<PAYLOAD_BYTES>().copied() else {
        return Ok(None);
    };
    input.advance(FRAME_BYTES);
    Ok(Some(payload))
}

#[inline]
fn put_frame(output: &mut BytesMut, payload: &[u8; PAYLOAD_BYTES]) {
    output.put_u32_le(PAYLOAD_BYTES as u32);
    output.put_slice(payload);
}

#[inline]
fn payload_of(serial: u64) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [0x5a; PAYLOAD_BYTES];
    if let Some(front) = payload.first_chunk_mut::<8>() {
        *front = serial.to_le_bytes();
    }
    payload
}

fn client(context: &RoleContext) -> Result<(), HarnessError> {
    block_on(async {
        let mut client = Client {
            stream: connect(context)?,
            input: BytesMut::with_capacity(BUFFER_BYTES),
            output: BytesMut::with_capacity(BUFFER_BYTES),
            next_serial: 0,
            expected: 0,
        };
        context.announce_ready();
        context.wait_go();
        let values = if context.job.shape.workload == Workload::W2 {
            client.window(&context.job).await?
        } else {
            client.ping_pong(&context.job).await?
        };
        context.report(&values);
        context.finish();
        Ok(())
    })
}

struct Client {
    stream: UnixStream,
    input: BytesMut,
    output: BytesMut,
    next_serial: u64,
    expected: u64,
}

impl Client {
    async fn ping_pong(&mut self, job: &Job) -> Result<baton_bench_harness::Values, HarnessError> {
        let mut recorder = LatencyRecorder::start(job);
        loop {
            for _ in 0..recorder.batch() {
                self.send(1).await?;
                while self.receive().await? == 0 {}
            }
            if !recorder.lap() {
                return Ok(recorder.values());
            }
        }
    }

    async fn window(&mut self, job: &Job) -> Result<baton_bench_harness::Values, HarnessError> {
        let mut meter = RateMeter::start(job);
        self.send(job.shape.outstanding as u64).await?;
        loop {
            let answers = self.receive().await?;
            if !meter.note(answers) {
                break;
            }
            self.send(answers).await?;
        }
        while self.expected < self.next_serial {
            self.receive().await?;
        }
        Ok(meter.values())
    }

    /// Sends `count` requests with one write.
    async fn send(&mut self, count: u64) -> Result<(), HarnessError> {
        for _ in 0..count {
            put_frame(&mut self.output, &payload_of(self.next_serial));
            self.next_serial += 1;
        }
        self.stream
            .write_all(&self.output)
            .await
            .map_err(|source| HarnessError::os("write", source))?;
        self.output.clear();
        Ok(())
    }

    /// Reads once; says how many whole answers that brought.
    async fn receive(&mut self) -> Result<u64, HarnessError> {
        self.input.reserve(BUFFER_BYTES / 2);
        let count = self
            .stream
            .read_buf(&mut self.input)
            .await
            .map_err(|source| HarnessError::os("read", source))?;
        if count == 0 {
            return Err(HarnessError::Role(
                "the server has closed the connection".into(),
            ));
        }
        let mut answers = 0;
        while let Some(payload) = take_frame(&mut self.input)? {
            if payload != payload_of(self.expected) {
                return Err(HarnessError::Role(format!(
                    "answer {} is wrong",
                    self.expected
                )));
            }
            self.expected += 1;
            answers += 1;
        }
        Ok(answers)
    }
}
