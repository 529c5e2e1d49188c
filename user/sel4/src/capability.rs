//! Capability pointers with the type of what they should refer to.

use baton_sel4_abi::{CPtr, ObjectType};

/// A typed capability pointer.
pub trait Capability: Copy {
    /// The pointer.
    fn cptr(self) -> CPtr;

    /// Claims that the pointer refers to this type.
    fn from_cptr(cptr: CPtr) -> Self;
}

/// A capability type that `Untyped_Retype` makes, with the object type to ask for.
pub trait CapType: Capability {
    /// What to make.
    const OBJECT: ObjectType;
}

macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident $(= $object:ident)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(transparent)]
        pub struct $name(CPtr);

        impl $name {
            /// Claims that the pointer refers to this type.
            pub const fn new(cptr: CPtr) -> Self {
                Self(cptr)
            }
        }

        impl Capability for $name {
            fn cptr(self) -> CPtr {
                self.0
            }

            fn from_cptr(cptr: CPtr) -> Self {
                Self(cptr)
            }
        }

        $(impl CapType for $name {
            const OBJECT: ObjectType = ObjectType::$object;
        })?
    )*};
}

capabilities! {
    /// Memory of which objects can be made.
    Untyped = Untyped;
    /// A thread.
    Tcb = Tcb;
    /// Where threads meet to pass messages.
    Endpoint = Endpoint;
    /// A word of signals.
    Notification = Notification;
    /// A node of a capability space; as the root, a whole one.
    CNode = CapTable;
    /// A frame of 4 KiB, 2 MiB or 1 GiB.
    Page = Page;
    /// A page table of any level; the root is a whole address space.
    PageTable = PageTable;
    /// Memory through which a thread and Baton's kernel exchange messages; only where the features word says so.
    KernelLane = KernelLane;
    /// Makes ASID pools.
    AsidControl;
    /// Gives address spaces their identifiers.
    AsidPool;
    /// Makes interrupt handlers.
    IrqControl;
    /// One interrupt.
    IrqHandler;
    /// Puts threads into domains.
    DomainSet;
}
