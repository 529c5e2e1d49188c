//! The expansion of `#[service]` and the number of its interface, on token streams.

mod faults;

use super::{expand, hash, parse};
use proc_macro2::TokenStream;
use quote::quote;

fn expanded(item: TokenStream) -> String {
    expand(TokenStream::new(), item).unwrap().to_string()
}

fn text(item: TokenStream) -> String {
    hash::normalised(&parse::parse(syn::parse2(item).unwrap()).unwrap())
}

fn number(item: TokenStream) -> u64 {
    hash::interface(&parse::parse(syn::parse2(item).unwrap()).unwrap())
}

/// Whether the tokens of `part` stand in `whole`; spacing depends on how the tokens were made and is left out.
#[track_caller]
fn contains(whole: &str, part: TokenStream) {
    let dense = |text: &str| text.split_whitespace().collect::<String>();
    let part = part.to_string();
    assert!(
        dense(whole).contains(&dense(&part)),
        "no {part}\nin {whole}"
    );
}

#[test]
fn a_request_becomes_a_call_and_an_arm() {
    let code = expanded(quote! {
        pub trait Kv {
            /// Looks a key up.
            async fn get(&self, key: u64) -> Option<u64>;
        }
    });
    contains(
        &code,
        quote! {
            #[allow(async_fn_in_trait)]
            pub trait Kv: 'static {
                /// Looks a key up.
                async fn get(&self, key: u64) -> Option<u64>;
            }
        },
    );
    contains(
        &code,
        quote! {
            /// Looks a key up.
            #[inline(always)]
            pub fn get(&self, key: u64,) -> ::baton_rpc::Call<'_, P, Option<u64> > {
                self.client.call::<(u64,), Option<u64> >(0u16, (key,))
            }
        },
    );
    contains(
        &code,
        quote! {
            match ::baton_rpc::Request::method(&request) {
                0u16 => {
                    let ::core::option::Option::Some((key,)) =
                        ::baton_rpc::Request::args::<(u64,)>(&request)
                        else {
                            ::baton_rpc::Request::refuse_bad_arguments(request);
                            return ::baton_rpc::Started::Finished;
                        };
                    let (future, reply) = {
                        let reply = ::baton_rpc::Request::into_reply(request);
                        (self.0.get(key), #[inline(always)] move |value, when| ::baton_rpc::Reply::send::<Option<u64> >(reply, value, when))
                    };
                    ::baton_rpc::FreeCell::start(cell, future, reply)
                }
                _ => {
                    ::baton_rpc::Request::refuse_unknown_method(request);
                    ::baton_rpc::Started::Finished
                },
            }
        },
    );
    contains(
        &code,
        quote! {
            const _: () = ::core::assert!(
                <(u64,) as ::baton_rpc::Wire>::WORDS <= ::baton_rpc::INLINE_WORDS,
                "the arguments of `Kv::get` take more than 48 bytes; pass them in bulk"
            );
        },
    );
    contains(
        &code,
        quote!("the result of `Kv::get` takes more than 48 bytes; pass it in bulk"),
    );
}

#[test]
fn bulk_becomes_a_buffer_and_leaves_one_word_less() {
    let code = expanded(quote! {
        trait Kv {
            async fn both(&self, value: BulkIn, key: u64, out: baton_rpc::BulkOut) -> (u8, BulkOut);
        }
    });
    contains(
        &code,
        quote! {
            pub fn both(&self, key: u64, buffer: ::baton_rpc::Buffer<P>,)
                -> ::baton_rpc::BulkCall<P, u8>
            {
                self.client.call_bulk::<(u64,), u8>(0u16, (key,), buffer)
            }
        },
    );
    contains(
        &code,
        quote! {
            (self.0.both(value, key, out), #[inline(always)] move |(value, filled), when| ::baton_rpc::Reply::send_bulk::<u8>(reply, value, filled, when))
        },
    );
    contains(
        &code,
        quote! {
            <(u64,) as ::baton_rpc::Wire>::WORDS < ::baton_rpc::INLINE_WORDS,
            "the arguments of `Kv::both` take more than 40 bytes; pass them in bulk"
        },
    );
    assert!(!code.contains("try_both"));
}

#[test]
fn a_plain_method_becomes_a_one_way_send() {
    let code = expanded(quote!(
        trait Kv {
            fn note(&self, count: u64);
        }
    ));
    contains(
        &code,
        quote! {
            match ::baton_rpc::OneWay::method(&message) {
                0u16 => match ::baton_rpc::OneWay::args::<(u64,)>(&message) {
                    ::core::option::Option::Some((count,)) => self.0.note(count),
                    ::core::option::Option::None => ::baton_rpc::OneWay::bad_message(message),
                },
                _ => ::baton_rpc::OneWay::bad_message(message),
            }
        },
    );
    contains(
        &code,
        quote!({
            {
                ::baton_rpc::Request::refuse_unknown_method(request);
                ::baton_rpc::Started::Finished
            }
        }),
    );
    contains(&code, quote!(pub async fn send_note(&self, count: u64,)));
}

#[test]
fn the_users_own_p_and_t_are_left_alone() {
    let code = expanded(quote!(
        trait Kv {
            async fn get(&self, key: P) -> T;
        }
    ));
    contains(&code, quote!(struct KvClient<P_: ::baton_rpc::Platform>));
    contains(&code, quote!(struct KvServer<T_: Kv>));
}

#[test]
fn the_hash_is_over_names_and_types_only() {
    let one = quote!(
        trait Kv {
            /// Looks a key up.
            async fn get(&self, key: u64, parts: [u8; 4]) -> Option<u64>;
            async fn put(&self, value: BulkIn) -> ();
            fn note(&self);
        }
    );
    let same = quote!(
        pub trait Store {
            async fn get(&self, k: u64, p: [u8; 4]) -> Option<u64>;
            async fn put(&self, v: baton_rpc::BulkIn);
            fn note(&self);
        }
    );
    assert_eq!(
        text(one.clone()),
        "async fn get( u64, [ u8 ; 4 ],)-> Option < u64 >\nasync fn put( BulkIn,)-> ( )\nfn note()\n"
    );
    assert_eq!(number(one), number(same));
}

#[test]
fn any_change_of_a_signature_changes_the_hash() {
    let numbers = [
        quote!(
            trait Kv {
                async fn get(&self, key: u64) -> u64;
            }
        ),
        quote!(
            trait Kv {
                async fn got(&self, key: u64) -> u64;
            }
        ),
        quote!(
            trait Kv {
                async fn get(&self, key: u32) -> u64;
            }
        ),
        quote!(
            trait Kv {
                async fn get(&self, key: u64) -> u32;
            }
        ),
        quote!(
            trait Kv {
                async fn get(&self, key: u64);
            }
        ),
        quote!(
            trait Kv {
                fn get(&self, key: u64);
            }
        ),
        quote!(
            trait Kv {
                async fn get(&self, key: u64) -> u64;
                fn note(&self);
            }
        ),
    ]
    .map(number);
    let distinct: std::collections::HashSet<u64> = numbers.into();
    assert_eq!(distinct.len(), numbers.len());
}
