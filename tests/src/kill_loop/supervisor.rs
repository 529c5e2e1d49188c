//! The supervisor: kills, starts again, and looks at what is left.

use super::CLIENTS;
use super::record::{Mark, Record};
use crate::process::{
    Fault, Held, Owned, PATIENCE, command, dumps, held, names_in_use, number, until,
};
use crate::random::Random;
use baton_linux::{Grants, Host, HostConfig, ServiceName};
use std::time::{Duration, Instant};

/// Calls that each client must have answered after a kill before the next may come.
const PROGRESS_AFTER_KILL: u64 = 20;
/// Longest time from that to the next kill.
const MAX_DELAY_US: u64 = 3_000;
/// Progress is printed this often.
const REPORT_EVERY: Duration = Duration::from_secs(2);

struct Family {
    name: String,
    record: Record,
    server: Owned,
    clients: Vec<Owned>,
    random: Random,
    /// Connections that each client may have made by now.
    connections: [u64; CLIENTS],
    /// What the server and each client held when all were connected for the first time.
    baseline: Option<(Held, Vec<Held>)>,
}

/// Runs the loop.
pub(super) fn run(args: &[String]) -> Result<(), Fault> {
    let kills = number(args, "--kills", 100)?;
    let seed = number(args, "--seed", 1)?;
    let start = Instant::now();
    let own = held(std::process::id() as i32)?;
    let name = format!("kill-loop-{}", std::process::id());
    println!("kill-loop: {kills} kills, seed {seed}, {CLIENTS} clients of one server");
    let mut family = Family::start(&name, seed)?;
    let mut killed = [0u64; 2];
    let mut told = start;
    let result = (|| {
        family.settle()?;
        while killed[0] + killed[1] < kills {
            let server = family.kill_one()?;
            killed[usize::from(server)] += 1;
            if told.elapsed() > REPORT_EVERY {
                told = Instant::now();
                println!(
                    "  {} clients and {} servers killed, {} calls answered, {} acknowledged puts found again",
                    killed[0],
                    killed[1],
                    family.sum(Mark::Progress)?,
                    family.sum(Mark::Checked)?
                );
            }
        }
        family.settle()
    })();
    if let Err(fault) = result {
        let pids = family.clients.iter().map(Owned::pid);
        let pids = pids.chain([family.server.pid()]);
        return Err(format!(
            "seed {seed}, after {} kills: {fault}\n{}",
            killed[0] + killed[1],
            dumps(pids)
        ));
    }
    let answered = family.sum(Mark::Progress)?;
    let checked = family.sum(Mark::Checked)?;
    family.end()?;
    let own_after = held(std::process::id() as i32)?;
    if own_after != own {
        return Err(format!(
            "the supervisor held {own:?} and holds {own_after:?}"
        ));
    }
    println!(
        "kill-loop: passed: {} clients and {} servers killed in {:.1} s, {answered} calls answered, {checked} acknowledged \
         puts found again, nothing left, seed {seed}",
        killed[0],
        killed[1],
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

impl Family {
    fn start(name: &str, seed: u64) -> Result<Family, Fault> {
        let record = Record::new()?;
        let mut random = Random::new(seed);
        let server = spawn("server", name, &record, 0, random.next_u64())?;
        let clients = (0..CLIENTS)
            .map(|client| spawn("client", name, &record, client, random.next_u64()))
            .collect::<Result<_, _>>()?;
        Ok(Family {
            name: name.into(),
            record,
            server,
            clients,
            random,
            connections: [1; CLIENTS],
            baseline: None,
        })
    }

    fn sum(&self, mark: Mark) -> Result<u64, Fault> {
        (0..CLIENTS)
            .map(|client| self.record.mark(client, mark))
            .sum()
    }

    /// Kills a random process and starts it again; says whether it was the server.
    fn kill_one(&mut self) -> Result<bool, Fault> {
        let delay_us = self.random.below(MAX_DELAY_US);
        std::thread::sleep(Duration::from_micros(delay_us));
        let server = self.random.one_in(CLIENTS as u64 + 1);
        if server {
            self.server.kill()?;
            let seed = self.random.next_u64();
            // The name is free at once: the new server may not find it held.
            self.server = spawn("server", &self.name, &self.record, 0, seed)?;
            for connections in &mut self.connections {
                *connections += 1;
            }
        } else {
            let at = self.random.below(CLIENTS as u64) as usize;
            let seed = self.random.next_u64();
            let client = self.clients.get_mut(at).ok_or("no such client")?;
            client.kill()?;
            *client = spawn("client", &self.name, &self.record, at, seed)?;
            if let Some(connections) = self.connections.get_mut(at) {
                *connections += 1;
            }
        }
        // Now and then the next comes in the middle of the start and of the handshakes.
        if !self.random.one_in(4) {
            self.settle()?;
        }
        Ok(server)
    }

    /// Waits until every client goes on, and until all hold what they held at first.
    fn settle(&mut self) -> Result<(), Fault> {
        let mut from = [0; CLIENTS];
        for (client, from) in from.iter_mut().enumerate() {
            *from = self.record.mark(client, Mark::Progress)?;
        }
        let late = || format!("not all clients went on within {PATIENCE:?} from {from:?}");
        until(
            || {
                self.check_alive()?;
                for (client, from) in from.iter().enumerate() {
                    let now = self.record.mark(client, Mark::Progress)?;
                    if now < from + PROGRESS_AFTER_KILL {
                        return Ok(false);
                    }
                }
                Ok(true)
            },
            late,
        )?;
        for (client, allowed) in self.connections.iter_mut().enumerate() {
            let made = self.record.mark(client, Mark::Connections)?;
            if made > *allowed {
                return Err(format!(
                    "client {client} had to connect {made} times, {allowed} were due: a living server left it"
                ));
            }
            // A client killed before it had connected has not used up its turn.
            *allowed = made;
        }
        self.check_held()
    }

    fn check_alive(&mut self) -> Result<(), Fault> {
        let all = self.clients.iter_mut().chain([&mut self.server]);
        match all.into_iter().find_map(Owned::ended) {
            Some(ended) => Err(ended),
            None => Ok(()),
        }
    }

    fn held(&self) -> Result<(Held, Vec<Held>), Fault> {
        let clients = self.clients.iter().map(|client| held(client.pid()));
        Ok((held(self.server.pid())?, clients.collect::<Result<_, _>>()?))
    }

    /// Who was not killed has let go of all that belonged to those who were.
    fn check_held(&mut self) -> Result<(), Fault> {
        let Some(expected) = self.baseline.clone() else {
            self.baseline = Some(self.held()?);
            return Ok(());
        };
        let mut found = None;
        let result = until(
            || {
                let now = self.held()?;
                let same = now == expected;
                found = Some(now);
                Ok(same)
            },
            || "not all was let go of".into(),
        );
        result
            .map_err(|fault| format!("{fault}: {expected:?} was held at first, {found:?} at last"))
    }

    /// Ends all and looks for what is left.
    fn end(mut self) -> Result<(), Fault> {
        let mut pids = vec![self.server.pid()];
        self.server.kill()?;
        for client in &mut self.clients {
            pids.push(client.pid());
            client.kill()?;
        }
        for part in pids
            .iter()
            .map(|pid| format!("/{pid}"))
            .chain([self.name.clone()])
        {
            let left = names_in_use(&part)?;
            if !left.is_empty() {
                return Err(format!("these names are still in use: {left:?}"));
            }
        }
        // And the service's name can be had again at once.
        let name = ServiceName::new(&self.name).map_err(|error| error.to_string())?;
        let started = Host::start(HostConfig::default()).map_err(|error| error.to_string())?;
        let listened = started.host.listen(&name, 1, Grants::default());
        listened.map(|_| ()).map_err(|error| error.to_string())?;
        for place in ["/dev/shm", "/tmp"] {
            let entries = std::fs::read_dir(place).map_err(|error| error.to_string())?;
            for entry in entries.flatten() {
                let file = entry.file_name();
                if file.to_string_lossy().contains(&self.name) {
                    return Err(format!("{place} still has {file:?}"));
                }
            }
        }
        Ok(())
    }
}

fn spawn(
    role: &str,
    name: &str,
    record: &Record,
    client: usize,
    seed: u64,
) -> Result<Owned, Fault> {
    let args = [
        "--name".into(),
        name.into(),
        "--record".into(),
        record.path(),
        "--client".into(),
        client.to_string(),
        "--seed".into(),
        seed.to_string(),
    ];
    let child = command(role, &args).spawn();
    child
        .map(Owned)
        .map_err(|error| format!("cannot start a {role}: {error}"))
}
