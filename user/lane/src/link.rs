//! What binds a kernel lane to an executor.

use baton_inbox::{LayoutError, LinkError, LinkParts, RegionLayout, link::write_header};
use baton_sel4::LaneShape;
use baton_sel4::abi::baton::region;
use baton_shm::{ReadRegion, Region, Word};

/// Most that a shape can say; beyond it the layout refuses.
fn bounded(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The kernel as a peer: to be bound with `bind_client`, `start` in the binding as in the shape.
///
/// `outgoing` and `incoming` are the lane's two regions, mapped; the lane is bound with `shape`. `hint` is a word that nobody looks at; `bell`
/// makes the system call `Doorbell`.
///
/// # Errors
///
/// That the shape is no possible one, or the regions are not those of a lane that is bound with it.
pub fn link_parts<B>(
    shape: LaneShape,
    outgoing: Region,
    incoming: ReadRegion,
    hint: Word,
    bell: B,
) -> Result<LinkParts<B>, LinkError> {
    let credits = u32::try_from(shape.slot_bits)
        .ok()
        .and_then(|bits| 1_u32.checked_shl(bits))
        .ok_or(LayoutError::TooManyCredits(u32::MAX))?;
    let out_layout = RegionLayout::new(credits, 0, bounded(shape.request_bulk), 0)?;
    let in_layout = RegionLayout::new(0, credits, 0, bounded(shape.answer_bulk))?;
    write_header(&outgoing, &out_layout)?;
    Ok(LinkParts {
        peer_state: incoming.word(region::STATE)?,
        peer_hint: hint,
        peer_index: 0,
        outgoing,
        out_layout,
        incoming,
        in_layout,
        bell,
        credits,
        granted: 0,
    })
}
