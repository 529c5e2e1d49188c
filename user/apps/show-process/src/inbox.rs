//! The service by inboxes: requests and answers are messages in shared memory.

use crate::shared::{ask, record, said, serve};
use crate::system_calls::system_calls;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use baton_inbox::Publication;
use baton_platform::{
    Grants, NodeConfig, ServiceCap, ServiceNumber, User, UserHandle, UserNode, Wants,
    now_instructions,
};
use baton_rpc::{Band, CallError, Config, Mode, service};
use baton_runtime::sel4::Message;
use baton_runtime::{StartInfo, println};

/// The service.
#[service]
pub trait Sum {
    /// The sum, wrapping.
    async fn add(&self, left: u64, right: u64) -> u64;
}

struct Plain;

impl Sum for Plain {
    async fn add(&self, left: u64, right: u64) -> u64 {
        left.wrapping_add(right)
    }
}

/// Requests of one client that are under way at a time, at most.
const CREDITS: u32 = 256;
/// Events kept by who counts: more than there are.
const COUNTED_EVENTS: usize = 1 << 16;
/// Events kept by who prints: the last are shown.
const PRINTED_EVENTS: usize = 256;

/// Starts the node of this process, with its trace as the argument says.
fn start<U: Publication>(info: &'static StartInfo, what: u64) -> UserNode<U> {
    let config = NodeConfig {
        config: Config {
            tasks: 1024,
            timers: 4,
            quantum: 64,
        },
        trace_events: match what {
            record::COUNT => COUNTED_EVENTS,
            record::PRINT => PRINTED_EVENTS,
            _ => 1,
        },
    };
    let node = match UserNode::<U>::start(info, config) {
        Ok(node) => node,
        Err(error) => panic!("no node: {error}"),
    };
    node.handle().node().set_tracing(what != record::NOTHING);
    node
}

fn run<U: Publication, F: Future>(node: &UserNode<U>, future: F) -> F::Output {
    match node.run_until(Mode::Park, future) {
        Ok(output) => output,
        Err(error) => panic!("the node does not run: {error}"),
    }
}

/// Serves until all clients have gone.
pub fn serve<U: Publication>(info: &'static StartInfo) -> u64 {
    let what = info.argument(serve::RECORD);
    let node = start::<U>(info, what);
    let handle = node.handle();
    let grants = Grants {
        max_credits: CREDITS,
        ..Grants::default()
    };
    let number = ServiceNumber(info.argument(serve::SERVICE) as u32);
    let service = Rc::new(SumServer(Plain));
    if let Err(error) = handle.serve(number, service, &grants, Band::NORMAL) {
        panic!("cannot serve: {error}");
    }
    info.parent().send(&Message::new(said::READY, &[]));
    run(&node, handle.idle_after(info.argument(serve::CLIENTS)));
    report(info, &handle, what, "server", info.argument(serve::PROCESS));
    0
}

/// Makes its requests, checks each answer, and says how many instructions passed meanwhile.
pub fn ask<U: Publication>(info: &'static StartInfo) -> u64 {
    let what = info.argument(ask::RECORD);
    let node = start::<U>(info, what);
    let handle = node.handle();
    let wants = Wants {
        credits: CREDITS,
        ..Wants::default()
    };
    let interface = SumServer::<Plain>::INTERFACE;
    let client = match handle.connect(ServiceCap::given(0), interface, &wants) {
        Ok(client) => SumClient::new(client),
        Err(error) => panic!("no connection: {error}"),
    };
    let (requests, outstanding) = (
        info.argument(ask::REQUESTS),
        info.argument(ask::OUTSTANDING),
    );
    let asked = async {
        // The first brings the server to where it waits.
        client.add(0, 7).await?;
        let before = now_instructions();
        let right = all(&handle, &client, requests, outstanding).await?;
        Ok::<_, CallError>((right, now_instructions() - before))
    };
    let (right, took) = match run(&node, asked) {
        Ok(done) => done,
        Err(error) => panic!("a call failed: {error}"),
    };
    info.parent()
        .send(&Message::new(said::DONE, &[right, took]));
    report(info, &handle, what, "client", info.argument(ask::PROCESS));
    handle.disconnect(client.client());
    0
}

/// Makes so many requests with so many under way, and says how many answers were right.
async fn all<U: Publication>(
    handle: &UserHandle<U>,
    client: &SumClient<User<U>>,
    requests: u64,
    outstanding: u64,
) -> Result<u64, CallError> {
    let workers = outstanding.clamp(1, requests.max(1));
    let mut under_way = Vec::with_capacity(workers as usize);
    for worker in 0..workers {
        let client = client.clone();
        let task = handle.executor().spawn(async move {
            let mut right = 0;
            for number in (worker..requests).step_by(workers as usize) {
                let sum = client.add(number, 7).await?;
                right += u64::from(sum == number.wrapping_add(7));
            }
            Ok::<u64, CallError>(right)
        });
        match task {
            Ok(task) => under_way.push(task),
            Err(error) => panic!("no task: {error}"),
        }
    }
    let mut right = 0;
    for task in under_way {
        match task.await {
            Ok(result) => right += result?,
            Err(error) => panic!("a task was lost: {error}"),
        }
    }
    Ok(right)
}

/// Says what the trace was for.
fn report<U: Publication>(
    info: &StartInfo,
    handle: &UserHandle<U>,
    what: u64,
    name: &str,
    process: u64,
) {
    handle.node().set_tracing(false);
    match what {
        record::COUNT => {
            let lost = handle.executor().trace().lost();
            assert_eq!(lost, 0, "events were lost, so that not all are counted");
            let calls = system_calls(&handle.executor().trace().snapshot());
            info.parent().send(&Message::new(said::CALLS, &[calls]));
        }
        record::PRINT => {
            let mut lines = String::new();
            let name = alloc::format!("{name} (process {process})");
            // Writing to a string cannot fail.
            let _ = handle.write_recording(process as u32, &name, &mut lines);
            for line in lines.lines() {
                println!("{line}");
            }
        }
        _ => {}
    }
}
