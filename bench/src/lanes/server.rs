//! The server's process: it serves until all clients have come and gone.

use super::{
    EchoBulkService, EchoService, IDLE_CONNECTIONS, IDLE_CREDITS, bulk_bytes, failed, mode,
    service_name, start_node,
};
use crate::echo::Plain;
use baton_bench_harness::{HarnessError, RoleContext, Workload};
use baton_linux::Grants;
use baton_rpc::Band;
use std::rc::Rc;

pub(super) fn run(context: &RoleContext) -> Result<(), HarnessError> {
    let shape = context.job.shape;
    let idle_handlers = match shape.workload {
        Workload::W1AwakeIdle60 => IDLE_CONNECTIONS * IDLE_CREDITS,
        _ => 0,
    };
    let node = start_node(context, shape.clients * shape.outstanding + idle_handlers)?;
    let handle = node.handle();
    let name = service_name(context)?;
    let size_bytes = bulk_bytes(shape);
    let grants = Grants {
        max_credits: u32::try_from(shape.outstanding.max(IDLE_CREDITS)).map_err(failed)?,
        max_request_bulk_bytes: size_bytes,
        max_answer_bulk_bytes: size_bytes,
        ..Grants::default()
    };
    let served = if size_bytes == 0 {
        let service = Rc::new(crate::echo::EchoServer(Plain));
        handle.serve::<EchoService>(&name, service, grants, Band::NORMAL)
    } else {
        let service = Rc::new(crate::echo::EchoBulkServer(Plain));
        handle.serve::<EchoBulkService>(&name, service, grants, Band::NORMAL)
    };
    served.map_err(failed)?;
    context.announce_ready();
    context.wait_go();
    node.run_until(mode(shape), handle.idle()).map_err(failed)
}
