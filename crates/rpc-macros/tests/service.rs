//! The expansion of a service compiles and calls what it should, against a runtime that answers at once.
//!
//! The runtime below has the items that the expansion names, in their simplest form: a client calls its service in the
//! same thread, and a buffer is a vector.
#![allow(
    missing_docs,
    reason = "the items are described where they really are, in baton-rpc"
)]

extern crate self as baton_rpc;

#[path = "../../rpc/src/wire.rs"]
mod wire;

pub use wire::{Wire, WireReader, WireWriter};

use baton_rpc_macros::{Wire, service};
use std::cell::{Cell, RefCell};
use std::future::{Future, IntoFuture, Ready, ready};
use std::marker::PhantomData;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use wire::{SliceReader, SliceWriter};

pub const INLINE_WORDS: usize = 6;

pub trait Platform: 'static {}

#[derive(Debug, PartialEq)]
pub struct Interface {
    pub name: &'static str,
    pub hash: u64,
    pub methods: &'static [&'static str],
}

pub trait Service<P: Platform>: 'static {
    const INTERFACE: Interface;
    fn serve<'a>(&'a self, request: Request<'a, P>, cell: FreeCell<'a, P>) -> Started;
    const CELLS: CellSize;
    fn is_ordinary(head: u32) -> bool;
    fn notify(&self, message: OneWay<'_, P>);
}

#[derive(Debug, PartialEq)]
pub enum CallError {
    BadArguments,
    UnknownMethod,
}

#[derive(Debug)]
pub struct TryCallError<A>(pub A);

#[derive(Debug, PartialEq)]
pub struct SendError;

#[derive(Clone, Debug, PartialEq)]
pub struct BulkIn(Vec<u8>);

#[derive(Clone, Debug, PartialEq)]
pub struct BulkOut(Vec<u8>);

pub struct Buffer<P>(Vec<u8>, PhantomData<P>);

fn words_of<A: Wire>(value: &A) -> Vec<u64> {
    let mut words = vec![0; A::WORDS];
    value.put(&mut SliceWriter::new(&mut words));
    words
}

type Answer = Result<(Vec<u64>, Vec<u8>), CallError>;

pub struct Request<'a, P> {
    method: u16,
    words: Vec<u64>,
    bulk: Option<Vec<u8>>,
    reply: Reply<'a, P>,
}

impl<'a, P> Request<'a, P> {
    pub fn method(&self) -> u16 {
        self.method
    }
    pub fn args<A: Wire>(&self) -> Option<A> {
        A::get(&mut SliceReader::new(&self.words))
    }
    pub fn bulk_in(&self) -> Option<BulkIn> {
        self.bulk.clone().map(BulkIn)
    }
    pub fn bulk_out(&self) -> Option<BulkOut> {
        self.bulk.clone().map(BulkOut)
    }
    pub fn into_reply(self) -> Reply<'a, P> {
        self.reply
    }
    pub fn refuse_bad_arguments(self) {
        self.reply.answer(Err(CallError::BadArguments));
    }
    pub fn refuse_unknown_method(self) {
        self.reply.answer(Err(CallError::UnknownMethod));
    }
}

pub struct Reply<'a, P> {
    answer: &'a RefCell<Option<Answer>>,
    platform: PhantomData<P>,
}

impl<P> Reply<'_, P> {
    fn answer(self, answer: Answer) {
        assert!(self.answer.borrow_mut().replace(answer).is_none());
    }
    pub fn send<T: Wire>(self, value: T, _when: When) {
        self.answer(Ok((words_of(&value), Vec::new())));
    }
    pub fn send_bulk<T: Wire>(self, value: T, out: BulkOut, _when: When) {
        self.answer(Ok((words_of(&value), out.0)));
    }
}

/// Runs what is started in it at once.
pub struct FreeCell<'a, P>(PhantomData<(&'a (), P)>);

pub enum When {
    AtOnce,
}

#[derive(Debug, PartialEq)]
pub enum Started {
    Finished,
}

impl<'a, P> FreeCell<'a, P> {
    pub fn start<F, K>(self, future: F, next: K) -> Started
    where
        F: Future + 'a,
        K: FnOnce(F::Output, When) + 'a,
    {
        next(run(future), When::AtOnce);
        Started::Finished
    }
}

/// How many futures it was told of, and the size of the largest.
#[derive(Debug, PartialEq)]
pub struct CellSize(usize, usize);

impl CellSize {
    pub const NONE: CellSize = CellSize(0, 0);

    pub const fn fit<A, F: Future, K: FnOnce(F::Output, When)>(
        self,
        _make: &impl FnOnce(A) -> (F, K),
    ) -> CellSize {
        let largest = if self.1 > size_of::<F>() {
            self.1
        } else {
            size_of::<F>()
        };
        CellSize(self.0 + 1, largest)
    }
}

pub const fn request_head(method: u16, words: usize) -> u32 {
    words as u32 | 1 << 8 | (method as u32) << 16
}

pub struct OneWay<'a, P> {
    method: u16,
    words: Vec<u64>,
    bad: &'a Cell<u32>,
    platform: PhantomData<P>,
}

impl<P> OneWay<'_, P> {
    pub fn method(&self) -> u16 {
        self.method
    }
    pub fn args<A: Wire>(&self) -> Option<A> {
        A::get(&mut SliceReader::new(&self.words))
    }
    pub fn bad_message(self) {
        self.bad.set(self.bad.get() + 1);
    }
}

type Serve = Rc<dyn Fn(u16, Vec<u64>, Option<Vec<u8>>) -> Answer>;
type Notify = Rc<dyn Fn(u16, Vec<u64>)>;

pub struct Client<P> {
    serve: Serve,
    notify: Notify,
    bad: Rc<Cell<u32>>,
    platform: PhantomData<P>,
}

impl<P> Clone for Client<P> {
    fn clone(&self) -> Self {
        Client {
            serve: Rc::clone(&self.serve),
            notify: Rc::clone(&self.notify),
            bad: Rc::clone(&self.bad),
            platform: PhantomData,
        }
    }
}

pub struct Call<'c, P, T>(Result<T, CallError>, PhantomData<&'c P>);

impl<P, T> IntoFuture for Call<'_, P, T> {
    type Output = Result<T, CallError>;
    type IntoFuture = Ready<Self::Output>;
    fn into_future(self) -> Self::IntoFuture {
        ready(self.0)
    }
}

pub type BulkCall<P, T> = Call<'static, P, (T, Vec<u8>)>;

impl<P: Platform> Client<P> {
    fn to<S: Service<P>>(service: S) -> Self {
        let service = Rc::new(service);
        let bad = Rc::new(Cell::new(0));
        let notified = (Rc::clone(&service), Rc::clone(&bad));
        Client {
            serve: Rc::new(move |method, words, bulk| {
                let answer = RefCell::new(None);
                let reply = Reply::<P> {
                    answer: &answer,
                    platform: PhantomData,
                };
                let request = Request {
                    method,
                    words,
                    bulk,
                    reply,
                };
                let started = service.serve(request, FreeCell(PhantomData));
                assert_eq!(started, Started::Finished);
                answer.take().expect("the handler answers")
            }),
            notify: Rc::new(move |method, words| {
                let (service, bad) = &notified;
                service.notify(OneWay {
                    method,
                    words,
                    bad,
                    platform: PhantomData,
                });
            }),
            bad,
            platform: PhantomData,
        }
    }

    pub fn call<A: Wire, T: Wire>(&self, method: u16, args: A) -> Call<'_, P, T> {
        let answer = (self.serve)(method, words_of(&args), None);
        let value = answer.map(|(words, _)| T::get(&mut SliceReader::new(&words)).unwrap());
        Call(value, PhantomData)
    }
    pub fn try_call<A: Wire, T: Wire>(
        &self,
        method: u16,
        args: A,
    ) -> Result<Call<'_, P, T>, TryCallError<A>> {
        Ok(self.call(method, args))
    }
    pub fn call_bulk<A: Wire, T: Wire>(
        &self,
        method: u16,
        args: A,
        buffer: Buffer<P>,
    ) -> BulkCall<P, T> {
        let answer = (self.serve)(method, words_of(&args), Some(buffer.0));
        let value =
            answer.map(|(words, bulk)| (T::get(&mut SliceReader::new(&words)).unwrap(), bulk));
        Call(value, PhantomData)
    }
    pub fn try_send<A: Wire>(&self, method: u16, args: A) -> Result<(), SendError> {
        (self.notify)(method, words_of(&args));
        Ok(())
    }
    pub async fn send<A: Wire>(&self, method: u16, args: A) -> Result<(), SendError> {
        self.try_send(method, args)
    }
}

/// Runs a future that never waits.
fn run<F: IntoFuture>(future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

struct Here;
impl Platform for Here {}

#[derive(Clone, Copy, Debug, PartialEq, Wire)]
pub enum Status {
    Known,
    Unknown,
}

/// A store.
#[service]
pub trait Kv {
    /// Looks a key up.
    async fn get(&self, key: u64) -> Option<u64>;
    async fn sum(&self, values: [u64; 6]) -> u64;
    async fn put(&self, key: u64, value: BulkIn) -> Status;
    async fn load(&self, key: u64, out: BulkOut) -> (Status, BulkOut);
    /// Argument names that the expansion uses itself.
    async fn both(&self, request: BulkIn, buffer: u8, out: BulkOut) -> (u8, BulkOut);
    fn note(&self, count: u8);
    async fn noted(&self) -> u64;
    async fn clear(&self);
}

#[derive(Default)]
struct Store {
    noted: Cell<u64>,
}

impl Kv for Store {
    async fn get(&self, key: u64) -> Option<u64> {
        (key != 0).then_some(key * 2)
    }
    async fn sum(&self, values: [u64; 6]) -> u64 {
        values.iter().sum()
    }
    async fn put(&self, key: u64, value: BulkIn) -> Status {
        if key as usize == value.0.len() {
            Status::Known
        } else {
            Status::Unknown
        }
    }
    async fn load(&self, key: u64, mut out: BulkOut) -> (Status, BulkOut) {
        out.0.fill(key as u8);
        (Status::Known, out)
    }
    async fn both(&self, request: BulkIn, buffer: u8, mut out: BulkOut) -> (u8, BulkOut) {
        out.0 = request.0.iter().rev().copied().collect();
        (buffer + 1, out)
    }
    fn note(&self, count: u8) {
        self.noted.set(self.noted.get() + u64::from(count));
    }
    async fn noted(&self) -> u64 {
        self.noted.get()
    }
    async fn clear(&self) {
        self.noted.set(0);
    }
}

fn client() -> KvClient<Here> {
    KvClient::new(Client::to(KvServer(Store::default())))
}

fn buffer(bytes: &[u8]) -> Buffer<Here> {
    Buffer(bytes.to_vec(), PhantomData)
}

#[test]
fn each_method_reaches_its_handler() {
    let kv = client().clone();
    assert_eq!(run(kv.get(21)), Ok(Some(42)));
    assert_eq!(run(kv.try_get(0).unwrap()), Ok(None));
    assert_eq!(run(kv.sum([1, 2, 3, 4, 5, 6])), Ok(21));
    assert_eq!(run(kv.put(2, buffer(b"ab"))), Ok((Status::Known, vec![])));
    assert_eq!(run(kv.put(1, buffer(b"ab"))), Ok((Status::Unknown, vec![])));
    assert_eq!(
        run(kv.load(7, buffer(b"ab"))),
        Ok((Status::Known, vec![7, 7]))
    );
    assert_eq!(run(kv.both(4, buffer(b"ab"))), Ok((5, b"ba".to_vec())));
    assert_eq!(kv.note(3), Ok(()));
    assert_eq!(run(kv.send_note(4)), Ok(()));
    assert_eq!(run(kv.noted()), Ok(7));
    assert_eq!(run(kv.clear()), Ok(()));
    assert_eq!(run(kv.noted()), Ok(0));
}

#[test]
fn what_no_method_understands_is_refused() {
    let kv = client();
    let raw = kv.client();
    assert_eq!(
        run(raw.call::<(), u64>(8, ())),
        Err(CallError::UnknownMethod)
    );
    // 5 is a one-way send: nobody waits for its answer.
    assert_eq!(
        run(raw.call::<(u8,), u64>(5, (1,))),
        Err(CallError::UnknownMethod)
    );
    // `put` without bulk.
    assert_eq!(
        run(raw.call::<(u64,), Status>(2, (1,))),
        Err(CallError::BadArguments)
    );
    // `both` with a byte that is none.
    let bulk = raw.call_bulk::<(u64,), u8>(4, (256,), buffer(b""));
    assert_eq!(run(bulk), Err(CallError::BadArguments));
    assert_eq!(raw.bad.get(), 0);
    assert_eq!(raw.try_send(5, (256u64,)), Ok(()));
    assert_eq!(raw.try_send(0, (1u64,)), Ok(()));
    assert_eq!(raw.bad.get(), 2);
    assert_eq!(run(kv.noted()), Ok(0));
}

#[test]
fn both_ends_describe_the_same_interface() {
    let interface = KvClient::<Here>::INTERFACE;
    assert_eq!(interface, KvServer::<Store>::INTERFACE);
    assert_eq!(interface, <KvServer<Store> as Service<Here>>::INTERFACE);
    assert_eq!(interface.name, "Kv");
    assert_eq!(
        interface.methods,
        [
            "get", "sum", "put", "load", "both", "note", "noted", "clear"
        ]
    );
}

mod private {
    use super::{Here, KvClient};

    /// A service of one module, with one-way sends only and types named like the usual parameters.
    #[super::service]
    pub(super) trait Log {
        fn line(&self, text: P, level: T);
    }

    pub(super) type P = [u8; 40];
    pub(super) type T = u8;

    #[test]
    fn another_interface_has_another_hash() {
        assert_ne!(
            LogClient::<Here>::INTERFACE.hash,
            KvClient::<Here>::INTERFACE.hash
        );
    }
}
