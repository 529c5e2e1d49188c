//! Judges a trait: every fault is found at once, each at its token and in plain words.

use super::model::{Argument, Kind, Method, Passed, Service};
use quote::ToTokens;
use std::collections::HashMap;
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Error, FnArg, Ident, ItemTrait, Pat, ReceiverKind, Result, ReturnType, Safety,
    Signature, TraitItem, TraitItemFn, Type, TypeImplTrait, TypeReference,
};

/// The most arguments that travel in a slot: `Wire` is implemented for tuples of up to six.
const MOST_ARGUMENTS: usize = 6;

/// The faults found so far.
#[derive(Default)]
struct Faults(Option<Error>);

impl Faults {
    fn at(&mut self, place: impl ToTokens, what: impl std::fmt::Display) {
        self.add(Error::new_spanned(place, what));
    }

    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(first) => first.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn none_or_error(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// The service that the trait describes.
///
/// # Errors
///
/// All that is wrong with the trait.
pub(super) fn parse(item: ItemTrait) -> Result<Service> {
    let mut faults = Faults::default();
    judge_trait(&item, &mut faults);
    let mut methods = Vec::new();
    for member in &item.items {
        match member {
            TraitItem::Fn(function) => methods.push(method(function, &mut faults)),
            other => faults.at(other, "a service has methods only"),
        }
    }
    judge_names(&methods, &mut faults);
    if methods.len() > usize::from(u16::MAX) {
        faults.at(&item.ident, "a service has at most 65535 methods");
    }
    faults.none_or_error()?;
    Ok(Service { item, methods })
}

fn judge_trait(item: &ItemTrait, faults: &mut Faults) {
    if !item.generics.params.is_empty() {
        faults.at(
            &item.generics.params,
            "a service cannot be generic: both ends must know every type",
        );
    }
    if let Some(clause) = &item.generics.where_clause {
        faults.at(clause, "a service cannot have a `where` clause");
    }
    if let Some(token) = &item.unsafety {
        faults.at(token, "a service cannot be an unsafe trait");
    }
    if let Some(token) = &item.modifiers.auto_token {
        faults.at(token, "a service cannot be an auto trait");
    }
}

/// No two methods of the client may have the same name.
fn judge_names(methods: &[Method], faults: &mut Faults) {
    let mut taken: HashMap<String, String> = ["new", "client"]
        .map(|name| (name.to_owned(), format!("the client's own `{name}`")))
        .into();
    for method in methods {
        let source = format!("what the client gets from `{}`", method.name.unraw());
        for name in method.client_names() {
            let name = name.unraw().to_string();
            match taken.get(&name) {
                Some(other) => faults.at(
                    &method.name,
                    format!("the client's method `{name}` would collide with {other}"),
                ),
                None => {
                    taken.insert(name, source.clone());
                }
            }
        }
    }
}

fn method(function: &TraitItemFn, faults: &mut Faults) -> Method {
    let signature = &function.sig;
    judge_attributes(function, faults);
    judge_signature(function, faults);
    let arguments: Vec<Argument> = signature
        .inputs
        .iter()
        .filter_map(|input| argument(input, faults))
        .collect();
    judge_arguments(signature, &arguments, faults);
    let kind = kind(signature, &arguments, faults);
    let mut attributes: Vec<Attribute> = function
        .attrs
        .iter()
        .filter(|attribute| {
            ["doc", "deprecated"]
                .iter()
                .any(|name| attribute.path().is_ident(name))
        })
        .cloned()
        .collect();
    if !attributes
        .iter()
        .any(|attribute| attribute.path().is_ident("doc"))
    {
        let about = format!("Calls `{}`.", signature.ident.unraw());
        attributes.push(syn::parse_quote!(#[doc = #about]));
    }
    Method {
        name: signature.ident.clone(),
        attributes,
        arguments,
        kind,
    }
}

fn judge_attributes(function: &TraitItemFn, faults: &mut Faults) {
    for attribute in &function.attrs {
        if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
            faults.at(
                attribute,
                "a method of a service cannot be conditional: the numbers of those after it would change",
            );
        }
    }
}

fn judge_signature(function: &TraitItemFn, faults: &mut Faults) {
    let signature = &function.sig;
    if !signature.generics.params.is_empty() {
        faults.at(
            &signature.generics.params,
            "a method of a service cannot be generic: both ends must know every type",
        );
    }
    if let Some(clause) = &signature.generics.where_clause {
        faults.at(clause, "a method of a service cannot have a `where` clause");
    }
    if let Some(body) = &function.default {
        faults.at(
            body,
            "a method of a service has no body here: the server implements it",
        );
    }
    if let Some(token) = &signature.constness {
        faults.at(token, "a method of a service cannot be `const`");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        faults.at(token, "a method of a service cannot be `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        faults.at(abi, "a method of a service cannot name an ABI");
    }
    if let Some(variadic) = &signature.variadic {
        faults.at(
            variadic,
            "a method of a service has a fixed number of arguments",
        );
    }
    match signature.receiver() {
        None => faults.at(&signature.ident, "a method of a service takes `&self`"),
        Some(receiver) => match &receiver.kind {
            ReceiverKind::Reference(_, None, None) => {}
            ReceiverKind::Reference(_, _, Some(_)) => faults.at(
                receiver,
                "a method of a service takes `&self`, not `&mut self`: several requests are served at the same time",
            ),
            _ => faults.at(
                receiver,
                "a method of a service takes `&self` and nothing else as `self`",
            ),
        },
    }
}

fn argument(input: &FnArg, faults: &mut Faults) -> Option<Argument> {
    let FnArg::Typed(typed) = input else {
        return None;
    };
    for attribute in &typed.attrs {
        faults.at(
            attribute,
            "an argument of a service's method cannot have attributes",
        );
    }
    let name = match &*typed.pat {
        Pat::Ident(pat)
            if pat.by_ref.is_none() && pat.mutability.is_none() && pat.subpat.is_none() =>
        {
            pat.ident.clone()
        }
        other => {
            faults.at(other, "give this argument a plain name");
            return None;
        }
    };
    let passed = passed(&typed.ty);
    if passed == Passed::Inline {
        judge_type(&typed.ty, "an argument", faults);
    }
    Some(Argument {
        name,
        ty: (*typed.ty).clone(),
        passed,
    })
}

/// How a value of this type travels, judged by the last name of its path.
fn passed(ty: &Type) -> Passed {
    if let Type::Path(path) = ty
        && let Some(segment) = path.path.segments.last()
        && segment.arguments.is_none()
    {
        if segment.ident == "BulkIn" {
            return Passed::BulkIn;
        }
        if segment.ident == "BulkOut" {
            return Passed::BulkOut;
        }
    }
    Passed::Inline
}

fn judge_arguments(signature: &Signature, arguments: &[Argument], faults: &mut Faults) {
    let inline = arguments
        .iter()
        .filter(|argument| argument.passed == Passed::Inline);
    if let Some(seventh) = inline.clone().nth(MOST_ARGUMENTS) {
        faults.at(
            &seventh.name,
            format!(
                "`{}` has more than {MOST_ARGUMENTS} arguments; put some of them into one struct",
                signature.ident
            ),
        );
    }
    for (way, name) in [(Passed::BulkIn, "BulkIn"), (Passed::BulkOut, "BulkOut")] {
        let mut bulk = arguments.iter().filter(|argument| argument.passed == way);
        if let Some(second) = bulk.by_ref().nth(1) {
            faults.at(
                &second.ty,
                format!("a method takes at most one `{name}`: a call owns one buffer"),
            );
        }
        if signature.asyncness.is_none()
            && let Some(first) = arguments.iter().find(|argument| argument.passed == way)
        {
            faults.at(
                &first.ty,
                "a one-way send carries no bulk: nothing would tell when its buffer is free again; make the method `async`",
            );
        }
    }
}

fn kind(signature: &Signature, arguments: &[Argument], faults: &mut Faults) -> Kind {
    let result = match &signature.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => Some(&**ty),
    };
    if signature.asyncness.is_none() {
        if let Some(ty) = result {
            faults.at(
                ty,
                "a method with a result must be `async`; a plain `fn` is a one-way send and has none",
            );
        }
        return Kind::OneWay;
    }
    let out = arguments
        .iter()
        .find(|argument| argument.passed == Passed::BulkOut);
    let answer = match (out, result) {
        (Some(_), Some(Type::Tuple(tuple)))
            if tuple.elems.len() == 2 && passed(&tuple.elems[1]) == Passed::BulkOut =>
        {
            tuple.elems[0].clone()
        }
        (Some(argument), _) => {
            faults.at(
                &argument.ty,
                "a method that takes a `BulkOut` hands it back: its result is `(value, BulkOut)`",
            );
            return Kind::OneWay;
        }
        (None, Some(ty)) => ty.clone(),
        (None, None) => syn::parse_quote!(()),
    };
    judge_type(&answer, "a result", faults);
    Kind::Request {
        answer: Box::new(answer),
    }
}

/// Refuses what cannot cross to another process.
fn judge_type(ty: &Type, what: &'static str, faults: &mut Faults) {
    Judge { what, faults }.visit_type(ty);
}

struct Judge<'f> {
    what: &'static str,
    faults: &'f mut Faults,
}

impl<'ast> Visit<'ast> for Judge<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        self.faults.at(
            reference,
            format!(
                "{} cannot be a reference: it goes to another process; pass the value, or bulk",
                self.what
            ),
        );
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        self.faults.at(
            ty,
            format!("{} needs a type that both ends know", self.what),
        );
    }

    fn visit_ident(&mut self, ident: &'ast Ident) {
        if ident == "Self" {
            self.faults.at(
                ident,
                format!("{} cannot name `Self`: the client has another", self.what),
            );
        }
    }

    fn visit_type_path(&mut self, path: &'ast syn::TypePath) {
        if let Some(segment) = path.path.segments.last()
            && (segment.ident == "BulkIn" || segment.ident == "BulkOut")
        {
            let advice = if segment.arguments.is_none() {
                "stands for itself: as an argument, and `BulkOut` as the second part of the result"
            } else {
                "has no parameters"
            };
            self.faults
                .at(path, format!("`{}` {advice}", segment.ident));
            return;
        }
        visit::visit_type_path(self, path);
    }
}
