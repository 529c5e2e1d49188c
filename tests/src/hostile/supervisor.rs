//! Starts all, watches that the honest go on, and prints what was refused and why.

use super::HONEST;
use super::attack::Attack;
use super::tally::{Seen, Tally};
use crate::process::{Fault, Owned, PATIENCE, command, dumps, held, number, until};
use std::time::{Duration, Instant};

/// Progress is printed this often.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Writes from which on every attack must have had its turn.
const ENOUGH_FOR_ALL: u64 = 1_000_000;
/// Answers that each honest client must have checked after the last attack.
const CHECKED_AFTERWARDS: u64 = 200;

struct Cast {
    tally: Tally,
    // Before the victim, so that they do not see it go.
    honest: Vec<Owned>,
    victim: Owned,
}

/// Runs all.
pub(super) fn run(args: &[String]) -> Result<(), Fault> {
    let writes = number(args, "--writes", 10_000_000)?;
    let seed = number(args, "--seed", 1)?;
    println!("hostile: {writes} writes, seed {seed}, {HONEST} honest clients");
    let start = Instant::now();
    let tally = Tally::new()?;
    let name = format!("hostile-{}", std::process::id());
    let spawn = |role: &str, client: usize| -> Result<Owned, Fault> {
        let args = [
            "--name".into(),
            name.clone(),
            "--tally".into(),
            tally.path(),
            "--client".into(),
            client.to_string(),
            "--seed".into(),
            (seed.wrapping_mul(16) + client as u64).to_string(),
            "--writes".into(),
            writes.to_string(),
        ];
        let child = command(role, &args).spawn();
        child
            .map(Owned)
            .map_err(|error| format!("cannot start the {role}: {error}"))
    };
    let victim = spawn("victim", 0)?;
    let honest = (0..HONEST).map(|client| spawn("honest", client));
    let honest = honest.collect::<Result<_, _>>()?;
    let mut liar = None;
    let mut cast = Cast {
        honest,
        victim,
        tally: Tally::open(&tally.path())?,
    };
    let result = (|| {
        cast.go_on(CHECKED_AFTERWARDS)?;
        let before = held(cast.victim.pid())?;
        cast.attack(liar.insert(spawn("hostile", HONEST)?), writes)?;
        drop(liar.take());
        cast.go_on(CHECKED_AFTERWARDS)?;
        until(
            || Ok(held(cast.victim.pid())? == before),
            || {
                let now = held(cast.victim.pid());
                format!("the victim held {before:?}, and holds {now:?} after the attack")
            },
        )?;
        until(
            || Ok(cast.tally.seen(Seen::CallsBegun)? == cast.tally.seen(Seen::CallsEnded)?),
            || "calls to the hostile process never ended".into(),
        )
    })();
    if let Err(fault) = result {
        let pids = cast.honest.iter().map(Owned::pid);
        let dumps = dumps(pids.chain([cast.victim.pid()]));
        return Err(format!("seed {seed}: {fault}\n{dumps}"));
    }
    cast.print(writes)?;
    println!(
        "hostile: passed: {} writes over {} connections in {:.1} s, {} honest answers checked, seed {seed}",
        cast.tally.written()?,
        cast.tally.connections()?,
        start.elapsed().as_secs_f64(),
        cast.checked()?
    );
    Ok(())
}

impl Cast {
    fn checked(&self) -> Result<u64, Fault> {
        (0..HONEST).map(|client| self.tally.checked(client)).sum()
    }

    fn check_alive(&mut self) -> Result<(), Fault> {
        let mut all = self.honest.iter_mut().chain([&mut self.victim]);
        match all.find_map(Owned::ended) {
            Some(ended) => Err(ended),
            None => Ok(()),
        }
    }

    /// Waits until every honest client has checked `n` more answers.
    fn go_on(&mut self, n: u64) -> Result<(), Fault> {
        for client in 0..HONEST {
            let from = self.tally.checked(client)?;
            until(
                || {
                    self.check_alive()?;
                    Ok(self.tally.checked(client)? >= from + n)
                },
                || format!("honest client {client} did not go on within {PATIENCE:?}"),
            )?;
        }
        Ok(())
    }

    /// Watches the attack until the hostile process has written enough.
    fn attack(&mut self, liar: &mut Owned, writes: u64) -> Result<(), Fault> {
        let mut told = Instant::now();
        loop {
            self.go_on(1)?;
            match liar.0.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the hostile process ended: {status}")),
                Err(error) => return Err(error.to_string()),
            }
            if told.elapsed() > REPORT_EVERY {
                told = Instant::now();
                println!(
                    "  {} of {writes} writes over {} connections, {} honest answers checked",
                    self.tally.written()?,
                    self.tally.connections()?,
                    self.checked()?
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn print(&self, writes: u64) -> Result<(), Fault> {
        println!("  {:>14} {:>12}  attack", "words written", "quarantines");
        for (attack, name) in Attack::ALL {
            let (written, ended) = self.tally.attack(*attack)?;
            println!("  {written:>14} {ended:>12}  {name}");
            if written == 0 && writes >= ENOUGH_FOR_ALL {
                return Err(format!("nothing was written for: {name}"));
            }
        }
        println!("  {:>14}  what the victim saw", "times");
        for (what, name) in Seen::ALL {
            println!("  {:>14}  {name}", self.tally.seen(what)?);
        }
        Ok(())
    }
}
