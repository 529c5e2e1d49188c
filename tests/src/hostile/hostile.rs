//! The process that lies: connects, attacks, and connects again when it was thrown out.

use super::attack::Attack;
use super::pen::Pen;
use super::service::{Guarded, GuardedServer, Liar, LiesServer};
use super::tally::Tally;
use super::{BULK_BYTES, CREDITS, HOSTILE_NAME, Told};
use crate::process::Fault;
use crate::random::Random;
use baton_linux::{ConnectError, ControlEvent, Host, HostConfig, PeerLink, Started, Wants};
use baton_rpc::{BulkIn, BulkOut, Interface};
use std::time::Duration;

/// Rounds of one attack before another is chosen.
const ROUNDS: u64 = 8;
/// It hangs up by itself once in so many choices.
const HANG_UP_ONE_IN: u64 = 200;
/// Looks at whether the victim has drained, before it goes on regardless.
const MAX_LOOKS: u32 = 64;
/// Connections between two updates of the tally.
const TALLY_EVERY: u64 = 64;

/// What was written for an attack, and how many connections ended under it.
type Counts = Vec<(u64, u64)>;

/// Names the interface of the victim's service, which needs an implementation.
struct Unserved;

impl Guarded for Unserved {
    async fn mix(&self, words: [u64; 4]) -> [u64; 4] {
        words
    }
    async fn turn(&self, data: BulkIn, out: BulkOut) -> (u64, BulkOut) {
        (data.len() as u64, out)
    }
    async fn linger(&self, time_ns: u64) -> u64 {
        time_ns
    }
    fn note(&self, _session: u64) {}
    async fn noted(&self, session: u64) -> u64 {
        session
    }
}

/// Writes as many words as it was told.
pub(super) fn run(told: &Told) -> Result<(), Fault> {
    let started = Host::start(HostConfig {
        name: Some(HOSTILE_NAME.into()),
        ..HostConfig::default()
    })
    .map_err(|error| error.to_string())?;
    let mut random = Random::new(told.seed);
    let mut counts: Counts = vec![(0, 0); Attack::ALL.len()];
    let mut connections = 0;
    let mut written = 0;
    while written < told.writes {
        let link = connect(&started.host, told)?;
        connections += 1;
        written += attack(
            &started,
            link,
            &mut random,
            &mut counts,
            told.writes - written,
        )?;
        if connections % TALLY_EVERY == 0 {
            report(&told.tally, &counts, connections, written)?;
        }
    }
    report(&told.tally, &counts, connections, written)
}

fn report(tally: &Tally, counts: &Counts, connections: u64, written: u64) -> Result<(), Fault> {
    for ((attack, _), (written, ended)) in Attack::ALL.iter().zip(counts) {
        tally.set_attack(*attack, *written, *ended)?;
    }
    tally.set_connections(connections)?;
    tally.set_written(written)
}

fn connect(host: &Host, told: &Told) -> Result<PeerLink, Fault> {
    const INTERFACE: Interface = GuardedServer::<Unserved>::INTERFACE;
    let wants = Wants {
        credits: CREDITS,
        offer_credits: CREDITS,
        request_bulk_bytes: BULK_BYTES,
        answer_bulk_bytes: BULK_BYTES,
        back_interface: LiesServer::<Liar>::INTERFACE.hash,
        server_uid: None,
    };
    loop {
        match host.connect(
            &told.name,
            INTERFACE.hash,
            &wants,
            baton_linux::node::CONNECT_TIMEOUT_NS,
        ) {
            Ok(link) => return Ok(link),
            // The connections before this one are not yet let go of.
            Err(ConnectError::ServerFull { .. }) => {
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(error) => return Err(format!("the victim lets nobody in any more: {error}")),
        }
    }
}

/// Attacks over one connection until it is closed, or until `limit` words are written; returns how many were.
fn attack(
    started: &Started,
    link: PeerLink,
    random: &mut Random,
    counts: &mut Counts,
    limit: u64,
) -> Result<u64, Fault> {
    let state = started.s_page.word(0).map_err(|error| error.to_string())?;
    let mut pen = Pen::new(&link, state).ok_or("the region has no words")?;
    let id = link.connection.id();
    while pen.written < limit {
        let chosen = random.below(Attack::ALL.len() as u64) as usize;
        let (Some((attack, _)), Some(count)) = (Attack::ALL.get(chosen), counts.get_mut(chosen))
        else {
            continue;
        };
        for _ in 0..=random.below(ROUNDS) {
            let before = pen.written;
            attack.round(&mut pen, random);
            count.0 += pen.written - before;
            // Half of the time the victim gets to look before it changes again.
            let looks = if random.one_in(2) { MAX_LOOKS } else { 1 };
            for _ in 0..looks {
                if has_ended(&started.host, id) {
                    count.1 += 1;
                    return Ok(pen.written);
                }
                if pen.all_drained() && pen.written != before {
                    break;
                }
                std::thread::yield_now();
            }
        }
        if random.one_in(HANG_UP_ONE_IN) {
            break;
        }
    }
    Ok(pen.written)
}

fn has_ended(host: &Host, id: u64) -> bool {
    while let Some(event) = host.try_next_event() {
        if let ControlEvent::Died { id: died, .. } = event
            && died == id
        {
            return true;
        }
    }
    false
}
