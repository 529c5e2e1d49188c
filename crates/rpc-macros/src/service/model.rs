//! What `#[service]` knows of a trait once it is found to be right.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Ident, ItemTrait, Type};

/// A trait that is a service.
pub(super) struct Service {
    /// The trait as the user wrote it.
    pub item: ItemTrait,
    /// Its methods; the position is the method's number.
    pub methods: Vec<Method>,
}

/// One method of a service.
pub(super) struct Method {
    pub name: Ident,
    /// Attributes that go to the client's methods as well: documentation and deprecation.
    pub attributes: Vec<Attribute>,
    /// All arguments after `self`, in order.
    pub arguments: Vec<Argument>,
    pub kind: Kind,
}

/// How a method is called.
pub(super) enum Kind {
    /// A request whose answer has this type; the bulk, if the answer has some, is not part of it.
    Request { answer: Box<Type> },
    /// A one-way send.
    OneWay,
}

/// One argument of a method.
pub(super) struct Argument {
    pub name: Ident,
    pub ty: Type,
    pub passed: Passed,
}

/// How an argument travels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Passed {
    /// As words in the slot.
    Inline,
    /// In the bulk area, from client to server.
    BulkIn,
    /// In the bulk area, from server to client.
    BulkOut,
}

impl Method {
    /// The arguments that travel in the slot.
    pub fn inline(&self) -> impl Iterator<Item = &Argument> {
        self.arguments
            .iter()
            .filter(|argument| argument.passed == Passed::Inline)
    }

    /// Whether an argument travels this way.
    pub fn has(&self, passed: Passed) -> bool {
        self.arguments
            .iter()
            .any(|argument| argument.passed == passed)
    }

    /// Whether anything travels in the bulk area.
    pub fn is_bulk(&self) -> bool {
        self.has(Passed::BulkIn) || self.has(Passed::BulkOut)
    }

    /// The tuple type as which the arguments travel.
    pub fn tuple_type(&self) -> TokenStream {
        let types = self.inline().map(|argument| &argument.ty);
        quote!((#(#types,)*))
    }

    /// The tuple of the arguments' names, as an expression or a pattern.
    pub fn tuple(&self) -> TokenStream {
        let names = self.inline().map(|argument| &argument.name);
        quote!((#(#names,)*))
    }

    /// The names of the client's methods that come from this one.
    pub fn client_names(&self) -> Vec<Ident> {
        let name = &self.name;
        match self.kind {
            Kind::Request { .. } if self.is_bulk() => vec![name.clone()],
            Kind::Request { .. } => vec![name.clone(), self.try_name()],
            Kind::OneWay => vec![name.clone(), self.send_name()],
        }
    }

    /// The name of the client's method that does not wait for a credit.
    pub fn try_name(&self) -> Ident {
        quote::format_ident!("try_{}", self.name)
    }

    /// The name of the client's method that waits for room for a one-way send.
    pub fn send_name(&self) -> Ident {
        quote::format_ident!("send_{}", self.name)
    }
}
