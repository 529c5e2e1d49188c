//! A client: it records numbers, each once, keeps a journal of those that were acknowledged, and compares it with the ledger whenever the
//! server has died, and at the end from the first number on.

use crate::ledger::{FAILED, INTERFACE, LedgerClient};
use crate::shared::{OUTSTANDING, code, said};
use crate::{drive, wants};
use alloc::rc::Rc;
use alloc::vec::Vec;
use baton_platform::{ConnectError, ServiceCap, User, UserHandle, UserNode};
use baton_rpc::{CallError, Failure};
use baton_runtime::sel4::{Message, yield_now};
use baton_runtime::{StartInfo, println};
use core::cell::{Cell, RefCell};

/// What was not as it must be.
enum Wrong {
    /// A call ended otherwise than by an answer or the server's death.
    Call(CallError),
    /// Calls that were under way together ended differently.
    Ended(Failure),
    /// A number, and how often it was recorded when it was acknowledged.
    Times(u64, u64),
    /// 64 numbers from that one on: acknowledged, in the ledger, submitted.
    Book(u64, u64, u64, u64),
    /// No connection, for another reason than that the server does not serve yet.
    Connect(ConnectError),
    /// The executor lost a task.
    Task,
}

impl core::fmt::Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Wrong::Call(error) => write!(f, "a call failed: {error}"),
            Wrong::Ended(failure) => write!(f, "a call ended in {failure:?}"),
            Wrong::Times(number, times) => write!(f, "number {number} was recorded {times} times"),
            Wrong::Book(from, acknowledged, recorded, submitted) => write!(
                f,
                "from {from} on: {acknowledged:#x} acknowledged, {recorded:#x} recorded, {submitted:#x} submitted"
            ),
            Wrong::Connect(error) => write!(f, "no connection: {error}"),
            Wrong::Task => f.write_str("the executor has no room for a task, or lost one"),
        }
    }
}

/// What a client remembers.
#[derive(Default)]
struct Journal {
    /// The next number.
    next: Cell<u64>,
    acknowledged: Cell<u64>,
    /// A bit for each acknowledged number.
    words: RefCell<Vec<u64>>,
}

impl Journal {
    fn note(&self, number: u64) {
        let mut words = self.words.borrow_mut();
        let index = (number / 64) as usize;
        if words.len() <= index {
            words.resize(index + 1, 0);
        }
        if let Some(word) = words.get_mut(index) {
            *word |= 1 << (number % 64);
        }
        self.acknowledged.set(self.acknowledged.get() + 1);
    }

    fn word(&self, index: u64) -> u64 {
        let words = self.words.borrow();
        words.get(index as usize).copied().unwrap_or(0)
    }

    /// Those of the 64 numbers of a word that were submitted.
    fn submitted(&self, index: u64) -> u64 {
        match self.next.get().saturating_sub(index * 64) {
            count @ 0..64 => (1 << count) - 1,
            _ => u64::MAX,
        }
    }
}

struct Client<'a> {
    info: &'static StartInfo,
    node: &'a UserNode,
    handle: UserHandle,
    number: u64,
    journal: Rc<Journal>,
    deaths: u64,
    /// The first word of the ledger that may have changed since it was compared.
    compared: u64,
}

/// Records numbers until the root task says that it is enough.
pub fn run(info: &'static StartInfo, node: &UserNode) -> u64 {
    let mut client = Client {
        info,
        node,
        handle: node.handle(),
        number: info.argument(1),
        journal: Rc::default(),
        deaths: 0,
        compared: 0,
    };
    match client.all() {
        Ok(()) => 0,
        Err(wrong) => {
            println!("after {} deaths: {wrong}", client.deaths);
            code::WRONG
        }
    }
}

impl Client<'_> {
    fn all(&mut self) -> Result<(), Wrong> {
        loop {
            let ledger = self.connect()?;
            // What may have been recorded before the server died.
            let from = self.compared;
            if !self.compare(&ledger, from)? {
                continue;
            }
            self.compared = self.journal.next.get() / 64;
            // Not before it is connected, so that a kill after the answer is not missed.
            let answer = self.info.parent().call(&Message::new(said::CONNECTED, &[]));
            if answer.word(0) == 1 {
                break;
            }
            self.load(&ledger)?;
        }
        loop {
            let ledger = self.connect()?;
            if self.compare(&ledger, 0)? {
                let journal = &self.journal;
                let words = [journal.next.get(), journal.acknowledged.get(), self.deaths];
                self.info
                    .parent()
                    .send(&Message::new(said::IN_ORDER, &words));
                self.handle.disconnect(ledger.client());
                return Ok(());
            }
        }
    }

    /// Connects as soon as somebody serves.
    fn connect(&self) -> Result<LedgerClient<User>, Wrong> {
        let wants = wants(OUTSTANDING as u32);
        loop {
            match self.handle.connect(ServiceCap::given(0), INTERFACE, &wants) {
                Ok(client) => return Ok(LedgerClient::new(client)),
                Err(ConnectError::NotServing) => yield_now(),
                Err(error) => return Err(Wrong::Connect(error)),
            }
        }
    }

    /// Compares journal and ledger from that word on. False if the server died meanwhile.
    fn compare(&mut self, ledger: &LedgerClient<User>, from: u64) -> Result<bool, Wrong> {
        let last = self.journal.next.get() / 64;
        let (journal, number) = (self.journal.clone(), self.number);
        let comparing = async {
            for index in from..=last {
                let (recorded, failed) = ledger.recorded(number, index).await?;
                if failed == FAILED {
                    return Ok(false);
                }
                let acknowledged = journal.word(index);
                let submitted = journal.submitted(index);
                if acknowledged & !recorded != 0 || recorded & !submitted != 0 {
                    let from = index * 64;
                    return Err(Wrong::Book(from, acknowledged, recorded, submitted));
                }
            }
            Ok(true)
        };
        match drive(self.node, comparing) {
            Err(Wrong::Call(CallError::Failed(Failure::PeerDied))) => {
                self.deaths += 1;
                Ok(false)
            }
            result => result,
        }
    }

    /// Records numbers, many at once, until the server dies.
    fn load(&mut self, ledger: &LedgerClient<User>) -> Result<(), Wrong> {
        let mut under_way = Vec::new();
        for _ in 0..OUTSTANDING {
            let (ledger, journal) = (ledger.clone(), self.journal.clone());
            let number = self.number;
            let task = self.handle.executor().spawn(async move {
                loop {
                    let mine = journal.next.get();
                    journal.next.set(mine + 1);
                    match ledger.record(number, mine).await {
                        Ok(1) => journal.note(mine),
                        Ok(times) => return Err(Wrong::Times(mine, times)),
                        Err(CallError::Failed(failure)) => return Ok(failure),
                        Err(error) => return Err(Wrong::Call(error)),
                    }
                }
            });
            under_way.push(task.map_err(|_| Wrong::Task)?);
        }
        let ending = async {
            for task in under_way {
                match task.await.map_err(|_| Wrong::Task)?? {
                    Failure::PeerDied => {}
                    failure => return Err(Wrong::Ended(failure)),
                }
            }
            Ok(())
        };
        drive(self.node, ending)?;
        self.deaths += 1;
        Ok(())
    }
}

impl From<CallError> for Wrong {
    fn from(error: CallError) -> Self {
        Wrong::Call(error)
    }
}
