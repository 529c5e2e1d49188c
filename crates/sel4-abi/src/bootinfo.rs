//! Boot info: what the kernel tells the initial thread, and where it is.
//!
//! The initial thread starts with the address of a [`BootInfo`] in `a0`; it fills less than the one page it has. Behind that
//! page come `extra_len` bytes of chunks, each with a [`BootInfoHeader`]. Source: reference manual, chapter 9.

use crate::limits::MAX_BOOTINFO_UNTYPEDS;

/// A range of slots of the root CNode, the end not included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct SlotRegion {
    /// The first slot.
    pub start: u64,
    /// The slot behind the last.
    pub end: u64,
}

impl SlotRegion {
    /// Number of slots.
    pub const fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One untyped capability of the initial thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct UntypedDesc {
    /// Physical address.
    pub paddr: u64,
    /// Size (bytes, log2).
    pub size_bits: u8,
    /// 1 for device memory, of which only frames and smaller untypeds can be made.
    pub is_device: u8,
    /// Nothing.
    pub padding: [u8; 6],
}

/// What the kernel tells the initial thread. All members are valid for every bit pattern.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BootInfo {
    /// Bytes of the chunks behind the page.
    pub extra_len: u64,
    /// This node's number.
    pub node_id: u64,
    /// Number of nodes.
    pub num_nodes: u64,
    /// Levels of I/O page tables: none on RISC-V.
    pub num_iopt_levels: u64,
    /// Address of the initial thread's IPC buffer.
    pub ipc_buffer: u64,
    /// Slots without a capability.
    pub empty: SlotRegion,
    /// Frames that nodes share: none.
    pub shared_frames: SlotRegion,
    /// Frames of the initial thread's image, in the order of their addresses.
    pub user_image_frames: SlotRegion,
    /// Page tables of the initial thread, but for the root.
    pub user_image_paging: SlotRegion,
    /// I/O spaces: none on RISC-V.
    pub io_space_caps: SlotRegion,
    /// Frames of the chunks behind the page.
    pub extra_bi_pages: SlotRegion,
    /// Slots of the root CNode (count, log2).
    pub init_thread_cnode_size_bits: u64,
    /// Domain of the initial thread.
    pub init_thread_domain: u64,
    /// Untyped capabilities.
    pub untyped: SlotRegion,
    /// What these are; as many as `untyped` has slots.
    pub untyped_list: [UntypedDesc; MAX_BOOTINFO_UNTYPEDS],
}

const _: () = assert!(size_of::<UntypedDesc>() == 16);
const _: () = assert!(core::mem::offset_of!(BootInfo, empty) == 40);
const _: () = assert!(core::mem::offset_of!(BootInfo, init_thread_cnode_size_bits) == 136);
const _: () = assert!(core::mem::offset_of!(BootInfo, untyped_list) == 168);
const _: () = assert!(size_of::<BootInfo>() <= 4096);

/// Start of each chunk behind boot info.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct BootInfoHeader {
    /// What the chunk is.
    pub id: u64,
    /// Its bytes, this header included.
    pub len: u64,
}

/// Chunk that says nothing.
pub const HEADER_PADDING: u64 = 0;
/// Chunk that holds the flattened device tree.
pub const HEADER_FDT: u64 = 6;

/// Word offsets in [`BootInfo`], for a kernel that writes it word by word.
pub mod word {
    use super::BootInfo;
    use core::mem::offset_of;

    /// `extra_len`.
    pub const EXTRA_LEN: usize = offset_of!(BootInfo, extra_len) / 8;
    /// `node_id`.
    pub const NODE_ID: usize = offset_of!(BootInfo, node_id) / 8;
    /// `num_nodes`.
    pub const NUM_NODES: usize = offset_of!(BootInfo, num_nodes) / 8;
    /// `num_iopt_levels`.
    pub const NUM_IOPT_LEVELS: usize = offset_of!(BootInfo, num_iopt_levels) / 8;
    /// `ipc_buffer`.
    pub const IPC_BUFFER: usize = offset_of!(BootInfo, ipc_buffer) / 8;
    /// `empty`: start, then end, as all regions.
    pub const EMPTY: usize = offset_of!(BootInfo, empty) / 8;
    /// `shared_frames`.
    pub const SHARED_FRAMES: usize = offset_of!(BootInfo, shared_frames) / 8;
    /// `user_image_frames`.
    pub const USER_IMAGE_FRAMES: usize = offset_of!(BootInfo, user_image_frames) / 8;
    /// `user_image_paging`.
    pub const USER_IMAGE_PAGING: usize = offset_of!(BootInfo, user_image_paging) / 8;
    /// `io_space_caps`.
    pub const IO_SPACE_CAPS: usize = offset_of!(BootInfo, io_space_caps) / 8;
    /// `extra_bi_pages`.
    pub const EXTRA_BI_PAGES: usize = offset_of!(BootInfo, extra_bi_pages) / 8;
    /// `init_thread_cnode_size_bits`.
    pub const INIT_THREAD_CNODE_SIZE_BITS: usize =
        offset_of!(BootInfo, init_thread_cnode_size_bits) / 8;
    /// `init_thread_domain`.
    pub const INIT_THREAD_DOMAIN: usize = offset_of!(BootInfo, init_thread_domain) / 8;
    /// `untyped`.
    pub const UNTYPED: usize = offset_of!(BootInfo, untyped) / 8;
    /// `untyped_list`: two words each, the second as [`untyped_flags`].
    pub const UNTYPED_LIST: usize = offset_of!(BootInfo, untyped_list) / 8;

    /// The second word of an entry of `untyped_list`.
    pub const fn untyped_flags(size_bits: u64, is_device: bool) -> u64 {
        (size_bits & 0xff) | ((is_device as u64) << 8)
    }
}
