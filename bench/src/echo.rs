//! The services that are measured: what comes in goes back.

use baton_rpc::{BulkIn, BulkOut, service};

/// 48 bytes each way, within the slots.
#[service]
pub trait Echo {
    /// Gives back what it gets.
    async fn echo(&self, words: [u64; 6]) -> [u64; 6];
}

/// Longer payload each way, in the buffers that come with the credit.
#[service]
pub trait EchoBulk {
    /// Gives back what it gets, and says how many bytes that is.
    async fn echo(&self, data: BulkIn, out: BulkOut) -> (u64, BulkOut);
}

/// The handler of both.
pub struct Plain;

impl Echo for Plain {
    async fn echo(&self, words: [u64; 6]) -> [u64; 6] {
        words
    }
}

impl EchoBulk for Plain {
    async fn echo(&self, data: BulkIn, mut out: BulkOut) -> (u64, BulkOut) {
        // Too long an answer is seen by the client, which compares all of it.
        let echoed_bytes = out
            .write_shared(data.bytes())
            .map_or(0, |()| data.len() as u64);
        (echoed_bytes, out)
    }
}
