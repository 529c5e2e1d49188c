//! Writes the expansion of a service that is right.

use super::hash;
use super::model::{Argument, Kind, Method, Passed, Service};
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Ident, Lifetime, parse_quote};

/// The names that the expansion of one service uses throughout.
struct Words<'s> {
    service: &'s Service,
    client: Ident,
    server: Ident,
    /// Where the interface is kept, out of the user's sight.
    interface: Ident,
    /// The parameter for the platform.
    platform: Ident,
    /// The parameter for the implementation.
    handler: Ident,
}

/// The trait, the checks of its sizes, its interface, client and server.
pub(super) fn write(service: &Service) -> TokenStream {
    let name = &service.item.ident;
    let words = Words {
        service,
        client: format_ident!("{name}Client"),
        server: format_ident!("{name}Server"),
        interface: format_ident!("__BATON_INTERFACE_OF_{name}"),
        platform: free("P", service),
        handler: free("T", service),
    };
    let parts = [
        write_trait(service),
        write_interface(&words),
        write_checks(service),
        write_client(&words),
        write_server(&words),
    ];
    quote!(#(#parts)*)
}

/// `base`, with underscores after it until the user's trait does not mention it.
fn free(base: &str, service: &Service) -> Ident {
    fn mentions(tokens: TokenStream, name: &str) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Group(group) => mentions(group.stream(), name),
            TokenTree::Ident(ident) => ident == name,
            TokenTree::Punct(_) | TokenTree::Literal(_) => false,
        })
    }
    let mut name = base.to_owned();
    while mentions(service.item.to_token_stream(), &name) {
        name.push('_');
    }
    Ident::new(&name, Span::call_site())
}

/// The trait as the user wrote it, and `'static`, as handlers outlive the call that starts them.
fn write_trait(service: &Service) -> TokenStream {
    let mut item = service.item.clone();
    item.attrs.push(parse_quote!(#[allow(async_fn_in_trait)]));
    item.colon_token.get_or_insert_default();
    let outlives = Lifetime::new("'static", Span::call_site());
    item.supertraits
        .insert(0, syn::TypeParamBound::Lifetime(outlives));
    item.into_token_stream()
}

fn write_interface(words: &Words) -> TokenStream {
    let constant = &words.interface;
    let name = words.service.item.ident.unraw().to_string();
    let hash = hash::interface(words.service);
    let methods = words
        .service
        .methods
        .iter()
        .map(|method| method.name.unraw().to_string());
    quote! {
        #[doc(hidden)]
        #[allow(non_upper_case_globals)]
        const #constant: ::baton_rpc::Interface = ::baton_rpc::Interface {
            name: #name,
            hash: #hash,
            methods: &[#(#methods),*],
        };
    }
}

/// What must hold of every method's sizes, checked where the trait is compiled and not where it is first called.
fn write_checks(service: &Service) -> TokenStream {
    let checks = service.methods.iter().map(|method| {
        let span = method.name.span();
        let path = format!("{}::{}", service.item.ident.unraw(), method.name.unraw());
        let (room, bytes) = if method.is_bulk() {
            // One word of the slot says where the bulk is.
            (quote!(< ::baton_rpc::INLINE_WORDS), 40)
        } else {
            (quote!(<= ::baton_rpc::INLINE_WORDS), 48)
        };
        let check = |ty: TokenStream, message: String| {
            quote_spanned! {span=>
                const _: () = ::core::assert!(<#ty as ::baton_rpc::Wire>::WORDS #room, #message);
            }
        };
        let arguments = check(
            method.tuple_type(),
            format!("the arguments of `{path}` take more than {bytes} bytes; pass them in bulk"),
        );
        let answer = match &method.kind {
            Kind::OneWay => None,
            Kind::Request { answer } => Some(check(
                answer.to_token_stream(),
                format!("the result of `{path}` takes more than {bytes} bytes; pass it in bulk"),
            )),
        };
        quote!(#arguments #answer)
    });
    quote!(#(#checks)*)
}

fn write_client(words: &Words) -> TokenStream {
    let Words {
        service,
        client,
        interface,
        platform,
        ..
    } = words;
    let visibility = &service.item.vis;
    let about = format!("Calls the methods of [`{}`].", service.item.ident);
    let methods = service
        .methods
        .iter()
        .zip(0u16..)
        .map(|(method, number)| write_client_method(method, number, platform));
    quote! {
        #[doc = #about]
        #visibility struct #client<#platform: ::baton_rpc::Platform> {
            client: ::baton_rpc::Client<#platform>,
        }

        impl<#platform: ::baton_rpc::Platform> ::core::clone::Clone for #client<#platform> {
            fn clone(&self) -> Self {
                Self { client: ::core::clone::Clone::clone(&self.client) }
            }
        }

        #[allow(dead_code)]
        impl<#platform: ::baton_rpc::Platform> #client<#platform> {
            /// What both ends must agree on.
            pub const INTERFACE: ::baton_rpc::Interface = #interface;

            /// Calls through this connection.
            pub fn new(client: ::baton_rpc::Client<#platform>) -> Self {
                Self { client }
            }

            /// The connection that the calls go through.
            pub fn client(&self) -> &::baton_rpc::Client<#platform> {
                &self.client
            }

            #(#methods)*
        }
    }
}

/// `name: Type` for each argument in the slot, with a comma after each.
fn parameters(method: &Method) -> TokenStream {
    let parameters = method
        .inline()
        .map(|Argument { name, ty, .. }| quote!(#name: #ty,));
    quote!(#(#parameters)*)
}

fn write_client_method(method: &Method, number: u16, platform: &Ident) -> TokenStream {
    let name = &method.name;
    let attributes = &method.attributes;
    let parameters = parameters(method);
    let tuple = method.tuple();
    let tuple_type = method.tuple_type();
    match &method.kind {
        Kind::Request { answer } if method.is_bulk() => {
            // The user may have an argument of this name; this one is another.
            let buffer = Ident::new("buffer", Span::mixed_site());
            quote! {
                #(#attributes)*
                #[inline]
                pub fn #name(
                    &self,
                    #parameters
                    #buffer: ::baton_rpc::Buffer<#platform>,
                ) -> ::baton_rpc::BulkCall<#platform, #answer> {
                    self.client.call_bulk::<#tuple_type, #answer>(#number, #tuple, #buffer)
                }
            }
        }
        Kind::Request { answer } => {
            let try_name = method.try_name();
            let about =
                format!("[`Self::{name}`], or an error with the arguments when no credit is free.");
            quote! {
                #(#attributes)*
                #[inline(always)]
                pub fn #name(&self, #parameters) -> ::baton_rpc::Call<'_, #platform, #answer> {
                    self.client.call::<#tuple_type, #answer>(#number, #tuple)
                }

                #[doc = #about]
                ///
                /// # Errors
                ///
                /// The call could not be submitted now; the error has the arguments.
                #[inline]
                pub fn #try_name(&self, #parameters) -> ::core::result::Result<
                    ::baton_rpc::Call<'_, #platform, #answer>,
                    ::baton_rpc::TryCallError<#tuple_type>,
                > {
                    self.client.try_call::<#tuple_type, #answer>(#number, #tuple)
                }
            }
        }
        Kind::OneWay => {
            let send_name = method.send_name();
            let about = format!("[`Self::{name}`], but waits while there is no room.");
            quote! {
                #(#attributes)*
                ///
                /// # Errors
                ///
                /// The message could not be sent now: there is no room, or the peer is gone.
                #[inline]
                pub fn #name(&self, #parameters) -> ::core::result::Result<(), ::baton_rpc::SendError> {
                    self.client.try_send::<#tuple_type>(#number, #tuple)
                }

                #[doc = #about]
                ///
                /// # Errors
                ///
                /// The message cannot be sent any more.
                #[inline]
                pub async fn #send_name(&self, #parameters) -> ::core::result::Result<(), ::baton_rpc::SendError> {
                    self.client.send::<#tuple_type>(#number, #tuple).await
                }
            }
        }
    }
}

fn write_server(words: &Words) -> TokenStream {
    let Words {
        service,
        server,
        interface,
        platform,
        handler,
        ..
    } = words;
    let visibility = &service.item.vis;
    let name = &service.item.ident;
    let about = format!("Serves an implementation of [`{name}`].");
    let numbered = || service.methods.iter().zip(0u16..);
    let serve: Vec<_> = numbered()
        .filter_map(|(method, number)| write_serve(method, number))
        .collect();
    let notify: Vec<_> = numbered()
        .filter_map(|(method, number)| write_notify(method, number))
        .collect();
    let fit: Vec<_> = service
        .methods
        .iter()
        .filter_map(|method| write_fit(method, platform))
        .collect();
    // Locals of the expansion, which no argument's name can meet.
    let request = Ident::new("request", Span::mixed_site());
    let cell = Ident::new("cell", Span::mixed_site());
    let message = Ident::new("message", Span::mixed_site());
    let head = Ident::new("head", Span::mixed_site());
    let heads = numbered().filter_map(|(method, number)| write_head(method, number));
    let serve = match_or(
        &serve,
        quote!(::baton_rpc::Request::method(&#request)),
        quote!({
            ::baton_rpc::Request::refuse_unknown_method(#request);
            ::baton_rpc::Started::Finished
        }),
    );
    let notify = match_or(
        &notify,
        quote!(::baton_rpc::OneWay::method(&#message)),
        quote!(::baton_rpc::OneWay::bad_message(#message)),
    );
    quote! {
        #[doc = #about]
        #visibility struct #server<#handler: #name>(
            /// The implementation.
            pub #handler,
        );

        #[allow(dead_code)]
        impl<#handler: #name> #server<#handler> {
            /// What both ends must agree on.
            pub const INTERFACE: ::baton_rpc::Interface = #interface;
        }

        impl<#platform: ::baton_rpc::Platform, #handler: #name> ::baton_rpc::Service<#platform> for #server<#handler> {
            const INTERFACE: ::baton_rpc::Interface = #interface;

            // Part of the loop that drains the lane: the first poll's state is known there.
            #[inline(always)]
            fn serve<'a>(
                &'a self,
                #request: ::baton_rpc::Request<'a, #platform>,
                #cell: ::baton_rpc::FreeCell<'a, #platform>,
            ) -> ::baton_rpc::Started {
                #serve
            }

            const CELLS: ::baton_rpc::CellSize = ::baton_rpc::CellSize::NONE #(#fit)*;

            #[inline(always)]
            fn is_ordinary(#head: u32) -> bool {
                #(#head == #heads ||)* false
            }

            #[inline]
            fn notify(&self, #message: ::baton_rpc::OneWay<'_, #platform>) {
                #notify
            }
        }
    }
}

/// A match with these arms, or only what is done when none fits.
fn match_or(arms: &[TokenStream], scrutinee: TokenStream, otherwise: TokenStream) -> TokenStream {
    if arms.is_empty() {
        otherwise
    } else {
        quote!(match #scrutinee { #(#arms)* _ => #otherwise, })
    }
}

/// The arm of a request: take the arguments apart, ask the handler, answer.
fn write_serve(method: &Method, number: u16) -> Option<TokenStream> {
    let Kind::Request { answer } = &method.kind else {
        return None;
    };
    let request = Ident::new("request", Span::mixed_site());
    let tuple = method.tuple();
    let tuple_type = method.tuple_type();
    let cell = Ident::new("cell", Span::mixed_site());
    let future = Ident::new("future", Span::mixed_site());
    let reply = Ident::new("reply", Span::mixed_site());
    let refuse = quote!({
        ::baton_rpc::Request::refuse_bad_arguments(#request);
        return ::baton_rpc::Started::Finished;
    });
    let bulk = method.arguments.iter().filter_map(|argument| {
        let name = &argument.name;
        let take = match argument.passed {
            Passed::Inline => return None,
            Passed::BulkIn => quote!(bulk_in),
            Passed::BulkOut => quote!(bulk_out),
        };
        Some(quote! {
            let ::core::option::Option::Some(#name) = ::baton_rpc::Request::#take(&#request) else #refuse;
        })
    });
    let start = write_handler(
        method,
        answer,
        &quote!(self),
        &quote!(::baton_rpc::Request::into_reply(#request)),
    );
    Some(quote! {
        #number => {
            let ::core::option::Option::Some(#tuple) =
                ::baton_rpc::Request::args::<#tuple_type>(&#request) else #refuse;
            #(#bulk)*
            let (#future, #reply) = #start;
            ::baton_rpc::FreeCell::start(#cell, #future, #reply)
        }
    })
}

/// The future of a request, which is the user's handler on `service`, and the reply with its result.
fn write_handler(
    method: &Method,
    answer: &impl ToTokens,
    service: &TokenStream,
    request_reply: &TokenStream,
) -> TokenStream {
    let name = &method.name;
    let value = Ident::new("value", Span::mixed_site());
    let filled = Ident::new("filled", Span::mixed_site());
    let when = Ident::new("when", Span::mixed_site());
    let reply = Ident::new("reply", Span::mixed_site());
    let arguments = method.arguments.iter().map(|argument| &argument.name);
    let send = if method.has(Passed::BulkOut) {
        quote!(#[inline(always)] move |(#value, #filled), #when| ::baton_rpc::Reply::send_bulk::<#answer>(#reply, #value, #filled, #when))
    } else {
        quote!(#[inline(always)] move |#value, #when| ::baton_rpc::Reply::send::<#answer>(#reply, #value, #when))
    };
    quote!({
        let #reply = #request_reply;
        (#service.0.#name(#(#arguments),*), #send)
    })
}

/// The head of a request with as many words as its arguments take, and one for where the bulk is.
fn write_head(method: &Method, number: u16) -> Option<TokenStream> {
    let Kind::Request { .. } = &method.kind else {
        return None;
    };
    let tuple_type = method.tuple_type();
    let bulk = usize::from(method.is_bulk());
    Some(quote! {
        const { ::baton_rpc::request_head(#number, <#tuple_type as ::baton_rpc::Wire>::WORDS + #bulk) }
    })
}

/// Room for the future of a request.
fn write_fit(method: &Method, platform: &Ident) -> Option<TokenStream> {
    let Kind::Request { answer } = &method.kind else {
        return None;
    };
    let service = Ident::new("service", Span::mixed_site());
    let asked = Ident::new("asked", Span::mixed_site());
    let names = method.arguments.iter().map(|argument| &argument.name);
    let types = method
        .arguments
        .iter()
        .map(|argument| match argument.passed {
            Passed::Inline => argument.ty.to_token_stream(),
            Passed::BulkIn => quote!(::baton_rpc::BulkIn),
            Passed::BulkOut => quote!(::baton_rpc::BulkOut),
        });
    let handler = write_handler(method, answer, &quote!(#service), &quote!(#asked));
    Some(quote! {
        .fit(
            &|(#service, #asked, #(#names,)*): (&'static Self, ::baton_rpc::Reply<'static, #platform>, #(#types,)*)| #handler,
        )
    })
}

/// The arm of a one-way send.
fn write_notify(method: &Method, number: u16) -> Option<TokenStream> {
    let Kind::OneWay = method.kind else {
        return None;
    };
    let message = Ident::new("message", Span::mixed_site());
    let name = &method.name;
    let tuple = method.tuple();
    let tuple_type = method.tuple_type();
    let arguments = method.inline().map(|argument| &argument.name);
    Some(quote! {
        #number => match ::baton_rpc::OneWay::args::<#tuple_type>(&#message) {
            ::core::option::Option::Some(#tuple) => self.0.#name(#(#arguments),*),
            ::core::option::Option::None => ::baton_rpc::OneWay::bad_message(#message),
        },
    })
}
