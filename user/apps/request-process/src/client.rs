//! A client: tasks that call in a loop, each with one request outstanding. The first of them reads the counter of instructions between
//! samples; all others, and the other clients, do what it does, so that in a sample of so many calls of its own each of them makes as many.

use crate::mirror::{MirrorClient, MirrorServer, Plain};
use crate::shared::{COUNTS_ENTRIES, CREDITS, OUTSTANDING, Taken, WORKLOADS, said};
use alloc::rc::Rc;
use alloc::vec::Vec;
use baton_counting::instret;
use baton_inbox::Publication;
use baton_platform::{ServiceCap, User, UserHandle, UserNode, Wants};
use baton_rpc::{Interface, Mode};
use baton_runtime::sel4::{Message, kernel_entries};
use baton_runtime::{StartInfo, println};
use core::cell::RefCell;

const SERVED: Interface = MirrorServer::<Plain>::INTERFACE;

/// How often the calls of a sample are made before the samples, and behind them for those that are not done yet.
const AROUND: u64 = 1;

/// A message with so many words.
trait Shape<U: Publication> {
    /// Calls until `serial` is `until`; the next serial number is made from the answer. Whether all answers came.
    async fn calls(client: &MirrorClient<User<U>>, serial: u64, until: u64) -> bool;
}

macro_rules! shape {
    ($name:ident, $method:ident, $($word:literal),*) => {
        struct $name;

        impl<U: Publication> Shape<U> for $name {
            #[inline(always)]
            async fn calls(client: &MirrorClient<User<U>>, mut serial: u64, until: u64) -> bool {
                while serial != until {
                    match client.$method([serial, $($word),*]).await {
                        Ok([echoed, ..]) => serial = echoed + 1,
                        Err(_) => return false,
                    }
                }
                true
            }
        }
    };
}

shape!(Two, two, 2);
shape!(Four, four, 2, 3, 4);
shape!(Six, six, 2, 3, 4, 5, 6);

/// What is the same for all shapes.
struct Plan {
    samples: u64,
    /// Requests of all clients in a sample at least.
    requests: u64,
    clients: u64,
    counts_entries: bool,
}

/// What the first task reads between samples.
#[derive(Default)]
struct Readings {
    instructions: Vec<u64>,
    /// Entries of the kernel before the first sample and behind the last.
    entries: [u64; 2],
}

/// Measures all shapes that the arguments name.
pub fn measure<U: Publication>(info: &'static StartInfo, node: &UserNode<U>, mode: Mode) -> u64 {
    let handle = node.handle();
    let wants = Wants {
        credits: CREDITS,
        ..Wants::default()
    };
    let client = match handle.connect(ServiceCap::given(0), SERVED, &wants) {
        Ok(client) => MirrorClient::new(client),
        Err(error) => panic!("no connection: {error}"),
    };
    let plan = Plan {
        samples: info.argument(5),
        requests: info.argument(6),
        clients: (info.argument(7) & !COUNTS_ENTRIES).max(1),
        counts_entries: info.argument(7) & COUNTS_ENTRIES != 0,
    };
    let chosen = |set: u64, index: usize| set >> index & 1 != 0;
    let work = async {
        for (index, &(_, words)) in WORKLOADS.iter().enumerate() {
            if !chosen(info.argument(3), index) {
                continue;
            }
            for (index, &outstanding) in OUTSTANDING.iter().enumerate() {
                if !chosen(info.argument(4), index) {
                    continue;
                }
                if client.begin().await.is_err() {
                    return false;
                }
                let taken = match words {
                    2 => samples::<U, Two>(&handle, &client, &plan, outstanding).await,
                    4 => samples::<U, Four>(&handle, &client, &plan, outstanding).await,
                    _ => samples::<U, Six>(&handle, &client, &plan, outstanding).await,
                };
                let Some(taken) = taken else {
                    return false;
                };
                let taken = Taken { words, ..taken };
                info.parent()
                    .send(&Message::new(said::TAKEN, &taken.to_words()));
            }
        }
        true
    };
    match node.run_until(mode, work) {
        Ok(true) => {}
        Ok(false) => {
            println!("a call failed, or a task found no room");
            return 1;
        }
        Err(error) => panic!("the executor does not run: {error}"),
    }
    handle.disconnect(client.client());
    0
}

/// Takes all samples of a shape; none if a call fails.
async fn samples<U: Publication, S: Shape<U> + 'static>(
    handle: &UserHandle<U>,
    client: &MirrorClient<User<U>>,
    plan: &Plan,
    outstanding: u64,
) -> Option<Taken> {
    let together = outstanding * plan.clients;
    let calls = plan.requests.div_ceil(together);
    let all = calls * (plan.samples + 2 * AROUND);
    let readings = Rc::new(RefCell::new(Readings::default()));
    readings
        .borrow_mut()
        .instructions
        .reserve(plan.samples as usize + 1);
    let mut others = Vec::with_capacity(outstanding as usize);
    let first = {
        let (client, readings) = (client.clone(), readings.clone());
        let (samples, counts_entries) = (plan.samples, plan.counts_entries);
        async move {
            let mut serial = calls * AROUND;
            if !S::calls(&client, 0, serial).await {
                return false;
            }
            readings.borrow_mut().read_entries(0, counts_entries);
            readings.borrow_mut().instructions.push(instret());
            for _ in 0..samples {
                if !S::calls(&client, serial, serial + calls).await {
                    return false;
                }
                serial += calls;
                readings.borrow_mut().instructions.push(instret());
            }
            readings.borrow_mut().read_entries(1, counts_entries);
            S::calls(&client, serial, all).await
        }
    };
    let first = handle.executor().spawn(first).ok()?;
    for _ in 1..outstanding {
        let client = client.clone();
        let calls = async move { S::calls(&client, 0, all).await };
        others.push(handle.executor().spawn(calls).ok()?);
    }
    if !first.await.ok()? {
        return None;
    }
    for other in others {
        if !other.await.ok()? {
            return None;
        }
    }
    let readings = readings.borrow();
    let lengths = readings
        .instructions
        .windows(2)
        .map(|edge| edge[1] - edge[0]);
    let [entries_before, entries_behind] = readings.entries;
    Some(Taken {
        words: 0,
        outstanding,
        requests: calls * outstanding,
        samples: plan.samples,
        first: *readings.instructions.first()?,
        last: *readings.instructions.last()?,
        least: lengths.clone().min()?,
        most: lengths.max()?,
        entries: entries_behind - entries_before,
    })
}

impl Readings {
    fn read_entries(&mut self, place: usize, counted: bool) {
        if counted {
            self.entries[place] = kernel_entries();
        }
    }
}
