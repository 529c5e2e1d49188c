//! The macros of Baton's RPC.
//!
//! Purpose: [`macro@service`] makes a typed client and server from a Rust trait; [`macro@Wire`] derives the fixed layout
//! of a struct or an enum.
//!
//! Invariants: the expansion names what it needs as `::baton_rpc::...` and nothing of its own, so that it works wherever
//! `baton_rpc` can be named. Whatever the macros refuse, they refuse at the token at fault and in plain words.
//!
//! Neighbours: `baton-rpc` re-exports both macros and holds what the expansions call; use them from there.
#![forbid(unsafe_code)]

mod derive;
mod service;

use proc_macro::TokenStream;

/// Makes a client, a server and the description of an interface from a trait.
///
/// ```text
/// #[baton_rpc::service]
/// pub trait Kv {
///     /// A request with an answer.
///     async fn get(&self, key: u64) -> Option<u64>;
///     /// A request whose value goes by the bulk area.
///     async fn put(&self, key: u64, value: BulkIn) -> Status;
///     /// An answer that brings bulk back: the handler fills `out` and returns it.
///     async fn load(&self, key: u64, out: BulkOut) -> (Status, BulkOut);
///     /// A one-way send.
///     fn note(&self, count: u64);
/// }
/// ```
///
/// makes, next to the trait itself:
///
/// - `KvClient<P>` with `get` and `try_get`; `put` and `load`, which take a `Buffer` in place of the bulk arguments;
///   `note`, which fails when there is no room, and `send_note`, which waits for it;
/// - `KvServer<T>(pub T)`, a `Service` for every implementation `T` of the trait;
/// - `INTERFACE` in both: the trait's name, the methods' names, and a hash of their signatures. The hash covers the names
///   of types, not what is in them.
///
/// Methods are numbered by their position in the trait. Arguments and results implement `Wire` and fit in one slot;
/// what does not fit is an error when the trait is compiled.
#[proc_macro_attribute]
pub fn service(attribute: TokenStream, item: TokenStream) -> TokenStream {
    service::expand(attribute.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Derives `Wire`: the words of the fields, one after the other.
///
/// A struct takes the words of its fields. An enum takes one word for the position of the variant (whatever its Rust
/// discriminant) and then as many as its largest variant; shorter ones are filled up with zeros.
#[proc_macro_derive(Wire)]
pub fn derive_wire(item: TokenStream) -> TokenStream {
    derive::expand(item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
