//! Every error of `#[service]`, on token streams.

use super::super::expand;
use proc_macro2::TokenStream;
use quote::quote;

fn errors(item: TokenStream) -> Vec<String> {
    match expand(TokenStream::new(), item) {
        Ok(_) => Vec::new(),
        Err(error) => error.into_iter().map(|error| error.to_string()).collect(),
    }
}

/// The errors of a trait with this method.
fn method_errors(method: TokenStream) -> Vec<String> {
    errors(quote!(trait Kv { #method }))
}

#[test]
fn faults_of_the_trait() {
    assert_eq!(
        expand(
            quote!(fast),
            quote!(
                trait Kv {}
            )
        )
        .unwrap_err()
        .to_string(),
        "`#[service]` takes no arguments"
    );
    let cases = [
        (
            quote!(
                trait Kv<T> {}
            ),
            "a service cannot be generic: both ends must know every type",
        ),
        (
            quote!(
                trait Kv
                where
                    u8: Copy,
                {
                }
            ),
            "a service cannot have a `where` clause",
        ),
        (
            quote!(
                unsafe trait Kv {}
            ),
            "a service cannot be an unsafe trait",
        ),
        (
            quote!(auto trait Kv {}),
            "a service cannot be an auto trait",
        ),
        (
            quote!(
                trait Kv {
                    type Key;
                }
            ),
            "a service has methods only",
        ),
        (
            quote!(
                trait Kv {
                    async fn new(&self);
                }
            ),
            "the client's method `new` would collide with the client's own `new`",
        ),
        (
            quote!(
                trait Kv {
                    async fn get(&self);
                    fn try_get(&self);
                }
            ),
            "the client's method `try_get` would collide with what the client gets from `get`",
        ),
    ];
    for (item, message) in cases {
        assert_eq!(errors(item), [message]);
    }
}

#[test]
fn faults_of_a_method() {
    let generic = "a method of a service cannot be generic: both ends must know every type";
    let only_shared = "a method of a service takes `&self` and nothing else as `self`";
    let cases = [
        (
            quote!(
                async fn get<T>(&self);
            ),
            generic,
        ),
        (
            quote!(
                async fn get<'a>(&self);
            ),
            generic,
        ),
        (
            quote!(
                async fn get(&self)
                where
                    u8: Copy;
            ),
            "a method of a service cannot have a `where` clause",
        ),
        (
            quote!(
                async fn get(&self) {}
            ),
            "a method of a service has no body here: the server implements it",
        ),
        (
            quote!(
                const fn get(&self);
            ),
            "a method of a service cannot be `const`",
        ),
        (
            quote!(
                async unsafe fn get(&self);
            ),
            "a method of a service cannot be `unsafe`",
        ),
        (
            quote!(
                extern "C" fn get(&self);
            ),
            "a method of a service cannot name an ABI",
        ),
        (
            quote!(
                fn get(&self, ...);
            ),
            "a method of a service has a fixed number of arguments",
        ),
        (
            quote!(
                async fn get(key: u64);
            ),
            "a method of a service takes `&self`",
        ),
        (
            quote!(
                async fn get(&mut self);
            ),
            "a method of a service takes `&self`, not `&mut self`: several requests are served at the same time",
        ),
        (
            quote!(
                async fn get(self);
            ),
            only_shared,
        ),
        (
            quote!(
                async fn get(self: Rc<Self>);
            ),
            only_shared,
        ),
        (
            quote!(
                async fn get(&'static self);
            ),
            only_shared,
        ),
        (
            quote!(
                #[cfg(test)]
                async fn get(&self);
            ),
            "a method of a service cannot be conditional: the numbers of those after it would change",
        ),
        (
            quote!(
                fn get(&self) -> u64;
            ),
            "a method with a result must be `async`; a plain `fn` is a one-way send and has none",
        ),
    ];
    for (method, message) in cases {
        assert_eq!(method_errors(method), [message]);
    }
}

#[test]
fn faults_of_arguments_and_results() {
    let reference =
        "an argument cannot be a reference: it goes to another process; pass the value, or bulk";
    let hand_back =
        "a method that takes a `BulkOut` hands it back: its result is `(value, BulkOut)`";
    let stands_alone = "`BulkOut` stands for itself: as an argument, and `BulkOut` as the second part of the result";
    let cases = [
        (
            quote!(
                async fn get(&self, key: &str);
            ),
            reference,
        ),
        (
            quote!(
                fn note(&self, key: Option<&u8>);
            ),
            reference,
        ),
        (
            quote!(
                async fn get(&self) -> &u8;
            ),
            "a result cannot be a reference: it goes to another process; pass the value, or bulk",
        ),
        (
            quote!(
                async fn get(&self, key: impl Wire);
            ),
            "an argument needs a type that both ends know",
        ),
        (
            quote!(
                async fn get(&self) -> Option<Self>;
            ),
            "a result cannot name `Self`: the client has another",
        ),
        (
            quote!(
                async fn get(&self, _: u8);
            ),
            "give this argument a plain name",
        ),
        (
            quote!(
                async fn get(&self, (a, b): (u8, u8));
            ),
            "give this argument a plain name",
        ),
        (
            quote!(
                async fn get(&self, #[cold] a: u8);
            ),
            "an argument of a service's method cannot have attributes",
        ),
        (
            quote!(
                async fn get(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8);
            ),
            "`get` has more than 6 arguments; put some of them into one struct",
        ),
        (
            quote!(
                async fn get(&self, a: BulkIn, b: BulkIn);
            ),
            "a method takes at most one `BulkIn`: a call owns one buffer",
        ),
        (
            quote!(
                async fn get(&self, a: BulkOut, b: BulkOut) -> (u8, BulkOut);
            ),
            "a method takes at most one `BulkOut`: a call owns one buffer",
        ),
        (
            quote!(
                fn note(&self, a: BulkIn);
            ),
            "a one-way send carries no bulk: nothing would tell when its buffer is free again; make the method `async`",
        ),
        (
            quote!(
                async fn get(&self, out: BulkOut) -> u8;
            ),
            hand_back,
        ),
        (
            quote!(
                async fn get(&self, out: BulkOut);
            ),
            hand_back,
        ),
        (
            quote!(
                async fn get(&self) -> (u8, BulkOut);
            ),
            stands_alone,
        ),
        (
            quote!(
                async fn get(&self, a: BulkIn<P>);
            ),
            "`BulkIn` has no parameters",
        ),
    ];
    for (method, message) in cases {
        assert_eq!(method_errors(method), [message]);
    }
}

#[test]
fn all_faults_are_told_at_once() {
    assert_eq!(
        method_errors(quote!(
            async fn get<T>(&mut self, key: &T) {}
        ))
        .len(),
        4
    );
}
