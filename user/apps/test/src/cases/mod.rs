//! The cases, by category. What each would catch is in `docs/kernel-tests.md`.

mod bind;
mod cancel;
mod cnode;
mod faults;
mod ipc;
mod lookup;
mod nbrecv;
mod registers;
mod retype;
mod rights;

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
