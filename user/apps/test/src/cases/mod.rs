//! The cases, by category. What each would catch is in `docs/kernel-tests.md`.

mod bind;
mod cancel;
mod cnode;
mod domains;
mod faults;
mod fpu;
mod frames;
mod interrupts;
mod ipc;
mod lookup;
mod nbrecv;
mod registers;
mod retype;
mod revoke;
mod rights;
mod scheduling;
mod sync;
mod threads;
mod tls;
mod vspace;

use crate::harness::Env;

/// A named case.
pub struct Case {
    /// What it asserts.
    pub name: &'static str,
    /// Runs it; a panic fails it.
    pub run: fn(&mut Env),
    /// Whether it makes sense only on a kernel with several domains.
    pub needs_domains: bool,
}

/// Each category with its cases.
pub const ALL: &[(&str, &[Case])] = &[
    ("registers", registers::CASES),
    ("bind", bind::CASES),
    ("cancel", cancel::CASES),
    ("cnode", cnode::CASES),
    ("lookup", lookup::CASES),
    ("rights", rights::CASES),
    ("nbrecv", nbrecv::CASES),
    ("ipc", ipc::CASES),
    ("faults", faults::CASES),
    ("retype", retype::CASES),
    ("scheduling", scheduling::CASES),
    ("sync", sync::CASES),
    ("threads", threads::CASES),
    ("tls", tls::CASES),
    ("fpu", fpu::CASES),
    ("interrupts", interrupts::CASES),
    ("frames", frames::CASES),
    ("vspace", vspace::CASES),
    ("domains", domains::CASES),
    ("revoke", revoke::CASES),
];

/// A table of cases: `function: "name"`.
macro_rules! cases {
    ($($function:ident: $name:literal),* $(,)?) => {
        /// The cases of this category.
        pub const CASES: &[$crate::cases::Case] = &[$($crate::cases::Case {
            name: $name,
            run: $function,
            needs_domains: false,
        }),*];
    };
}
pub(crate) use cases;
