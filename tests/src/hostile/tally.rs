//! The counts of all processes, in words that outlive them; each word has one writer.

use super::HONEST;
use super::attack::Attack;
use crate::process::Fault;
use crate::words::Words;
use baton_rpc::{CallError, Failure, Violation};

/// How the victim's connections with the hostile process ended, and how its calls back did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Seen {
    Tail,
    Head,
    Kind,
    Credit,
    Died,
    Disconnected,
    StaleAnswers,
    BadOneWays,
    LateCancels,
    CallsBegun,
    CallsEnded,
    Believed,
    TimedOut,
    BadAnswer,
    OtherStatus,
    Failed,
    NoCredit,
}

impl Seen {
    pub(super) const ALL: [(Seen, &'static str); 17] = [
        (Seen::Tail, "quarantined: tail"),
        (Seen::Head, "quarantined: head"),
        (Seen::Kind, "quarantined: kind"),
        (Seen::Credit, "quarantined: credit"),
        (Seen::Died, "hung up by itself"),
        (Seen::Disconnected, "disconnected by the victim"),
        (
            Seen::StaleAnswers,
            "answers dropped: token awaited by nobody",
        ),
        (Seen::BadOneWays, "one-way sends dropped: unreadable"),
        (Seen::LateCancels, "cancels dropped: of no request"),
        (Seen::CallsBegun, "calls back begun"),
        (Seen::CallsEnded, "calls back ended"),
        (Seen::Believed, "calls back: a value of the right type"),
        (Seen::TimedOut, "calls back: deadline passed"),
        (Seen::BadAnswer, "calls back: no value of the type"),
        (Seen::OtherStatus, "calls back: another error told"),
        (Seen::Failed, "calls back: connection ended"),
        (Seen::NoCredit, "one-way sends back: no credit"),
    ];

    pub(super) fn of_failure(failure: Failure) -> Seen {
        match failure {
            Failure::PeerCorrupt(Violation::Tail) => Seen::Tail,
            Failure::PeerCorrupt(Violation::Head) => Seen::Head,
            Failure::PeerCorrupt(Violation::Kind) => Seen::Kind,
            Failure::PeerCorrupt(Violation::Credit) => Seen::Credit,
            Failure::PeerDied => Seen::Died,
            Failure::Disconnected => Seen::Disconnected,
        }
    }

    pub(super) fn of_error(error: CallError) -> Seen {
        match error {
            CallError::Failed(_) => Seen::Failed,
            CallError::BadAnswer => Seen::BadAnswer,
            _ => Seen::OtherStatus,
        }
    }
}

const SEEN: usize = Seen::ALL.len();
const ATTACKS: usize = Attack::ALL.len();

/// See the module's page.
pub(super) struct Tally(Words);

impl Tally {
    pub(super) fn new() -> Result<Tally, Fault> {
        Words::new(HONEST + 2 + SEEN + 2 * ATTACKS).map(Tally)
    }

    pub(super) fn path(&self) -> String {
        self.0.path()
    }

    pub(super) fn open(path: &str) -> Result<Tally, Fault> {
        Words::open(path).map(Tally)
    }

    /// Answers that honest client `client` has checked.
    pub(super) fn checked(&self, client: usize) -> Result<u64, Fault> {
        self.0.get(client)
    }

    pub(super) fn add_checked(&self, client: usize, n: u64) -> Result<(), Fault> {
        self.0.add(client, n)
    }

    /// Words that the hostile process has written.
    pub(super) fn written(&self) -> Result<u64, Fault> {
        self.0.get(HONEST)
    }

    pub(super) fn set_written(&self, n: u64) -> Result<(), Fault> {
        self.0.set(HONEST, n)
    }

    /// Connections that it has made.
    pub(super) fn connections(&self) -> Result<u64, Fault> {
        self.0.get(HONEST + 1)
    }

    pub(super) fn set_connections(&self, n: u64) -> Result<(), Fault> {
        self.0.set(HONEST + 1, n)
    }

    pub(super) fn seen(&self, what: Seen) -> Result<u64, Fault> {
        self.0.get(HONEST + 2 + what as usize)
    }

    pub(super) fn see(&self, what: Seen, n: u64) -> Result<(), Fault> {
        self.0.add(HONEST + 2 + what as usize, n)
    }

    fn attack_word(attack: Attack) -> usize {
        HONEST + 2 + SEEN + 2 * attack as usize
    }

    /// Words written for `attack`, and connections that ended under it.
    pub(super) fn attack(&self, attack: Attack) -> Result<(u64, u64), Fault> {
        let word = Tally::attack_word(attack);
        Ok((self.0.get(word)?, self.0.get(word + 1)?))
    }

    pub(super) fn set_attack(&self, attack: Attack, written: u64, ended: u64) -> Result<(), Fault> {
        let word = Tally::attack_word(attack);
        self.0.set(word, written)?;
        self.0.set(word + 1, ended)
    }
}
