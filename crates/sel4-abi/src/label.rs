//! Invocation labels: what a message to a kernel object asks for.
//!
//! Source: reference manual, chapter 10 (API reference). MCS and configurations of several cores shift these numbers.

/// The label of an invocation; [`Label::number`] stands in the message-info word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Label {
    /// Untyped: make objects of a part of the memory.
    UntypedRetype = 1,
    /// TCB: read registers.
    TcbReadRegisters = 2,
    /// TCB: write registers.
    TcbWriteRegisters = 3,
    /// TCB: copy registers from another thread.
    TcbCopyRegisters = 4,
    /// TCB: fault endpoint, CSpace, VSpace and IPC buffer at once.
    TcbConfigure = 5,
    /// TCB: priority.
    TcbSetPriority = 6,
    /// TCB: maximum controlled priority.
    TcbSetMcPriority = 7,
    /// TCB: both priorities.
    TcbSetSchedParams = 8,
    /// TCB: IPC buffer.
    TcbSetIpcBuffer = 9,
    /// TCB: fault endpoint, CSpace and VSpace.
    TcbSetSpace = 10,
    /// TCB: stop.
    TcbSuspend = 11,
    /// TCB: go on.
    TcbResume = 12,
    /// TCB: bind a notification.
    TcbBindNotification = 13,
    /// TCB: unbind its notification.
    TcbUnbindNotification = 14,
    /// TCB: thread-local storage base (`tp`).
    TcbSetTlsBase = 15,
    /// TCB: feature flags.
    TcbSetFlags = 16,
    /// CNode: delete all that was derived from a capability.
    CNodeRevoke = 17,
    /// CNode: delete a capability.
    CNodeDelete = 18,
    /// CNode: cancel sends with a capability's badge.
    CNodeCancelBadgedSends = 19,
    /// CNode: copy, with fewer rights.
    CNodeCopy = 20,
    /// CNode: copy, with fewer rights and a badge or guard.
    CNodeMint = 21,
    /// CNode: move.
    CNodeMove = 22,
    /// CNode: move, with a badge or guard.
    CNodeMutate = 23,
    /// CNode: two moves at once.
    CNodeRotate = 24,
    /// CNode: keep the reply capability in a slot.
    CNodeSaveCaller = 25,
    /// IRQControl: make a handler.
    IrqIssueHandler = 26,
    /// IRQHandler: acknowledge.
    IrqAck = 27,
    /// IRQHandler: set its notification.
    IrqSetHandler = 28,
    /// IRQHandler: take its notification away.
    IrqClear = 29,
    /// Domain: put a thread into a domain.
    DomainSet = 30,
    /// Domain: change an entry of the schedule.
    DomainScheduleConfigure = 31,
    /// Domain: where the schedule starts.
    DomainScheduleSetStart = 32,
    /// PageTable: map.
    PageTableMap = 33,
    /// PageTable: unmap.
    PageTableUnmap = 34,
    /// Page: map, or change rights.
    PageMap = 35,
    /// Page: unmap.
    PageUnmap = 36,
    /// Page: physical address.
    PageGetAddress = 37,
    /// ASIDControl: make a pool.
    AsidControlMakePool = 38,
    /// ASIDPool: give an address space its identifier.
    AsidPoolAssign = 39,
    /// IRQControl: make a handler with a trigger.
    IrqIssueHandlerTrigger = 40,
}

impl Label {
    /// The invocation of that number.
    pub const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::UntypedRetype,
            2 => Self::TcbReadRegisters,
            3 => Self::TcbWriteRegisters,
            4 => Self::TcbCopyRegisters,
            5 => Self::TcbConfigure,
            6 => Self::TcbSetPriority,
            7 => Self::TcbSetMcPriority,
            8 => Self::TcbSetSchedParams,
            9 => Self::TcbSetIpcBuffer,
            10 => Self::TcbSetSpace,
            11 => Self::TcbSuspend,
            12 => Self::TcbResume,
            13 => Self::TcbBindNotification,
            14 => Self::TcbUnbindNotification,
            15 => Self::TcbSetTlsBase,
            16 => Self::TcbSetFlags,
            17 => Self::CNodeRevoke,
            18 => Self::CNodeDelete,
            19 => Self::CNodeCancelBadgedSends,
            20 => Self::CNodeCopy,
            21 => Self::CNodeMint,
            22 => Self::CNodeMove,
            23 => Self::CNodeMutate,
            24 => Self::CNodeRotate,
            25 => Self::CNodeSaveCaller,
            26 => Self::IrqIssueHandler,
            27 => Self::IrqAck,
            28 => Self::IrqSetHandler,
            29 => Self::IrqClear,
            30 => Self::DomainSet,
            31 => Self::DomainScheduleConfigure,
            32 => Self::DomainScheduleSetStart,
            33 => Self::PageTableMap,
            34 => Self::PageTableUnmap,
            35 => Self::PageMap,
            36 => Self::PageUnmap,
            37 => Self::PageGetAddress,
            38 => Self::AsidControlMakePool,
            39 => Self::AsidPoolAssign,
            40 => Self::IrqIssueHandlerTrigger,
            _ => return None,
        })
    }

    /// The number in the message-info word.
    pub const fn number(self) -> u64 {
        self as u64
    }
}
