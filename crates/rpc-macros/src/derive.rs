//! `#[derive(Wire)]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, Ident, Index, Result, Type};

/// The implementation of `Wire` for a struct or an enum.
pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics.params,
            "`Wire` cannot be derived for a generic type: its layout would not be fixed",
        ));
    }
    let name = &input.ident;
    let body = match &input.data {
        Data::Struct(data) => of_struct(&data.fields),
        Data::Enum(data) => {
            if data.variants.is_empty() {
                return Err(Error::new_spanned(
                    name,
                    "an enum without variants has no value that could be sent",
                ));
            }
            let variants: Vec<_> = data
                .variants
                .iter()
                .map(|variant| (&variant.ident, &variant.fields))
                .collect();
            of_enum(&variants)
        }
        Data::Union(data) => {
            return Err(Error::new_spanned(
                data.union_token,
                "`Wire` cannot be derived for a union: nothing says which field is meant",
            ));
        }
    };
    Ok(quote! {
        #[automatically_derived]
        impl ::baton_rpc::Wire for #name { #body }
    })
}

/// How many words these types take together.
fn sum<'a>(types: impl IntoIterator<Item = &'a Type>) -> TokenStream {
    let types = types.into_iter();
    quote!(0usize #(+ <#types as ::baton_rpc::Wire>::WORDS)*)
}

/// What stands before the colon when a field is built or matched.
fn member(number: usize, name: Option<&Ident>) -> TokenStream {
    match name {
        Some(name) => name.to_token_stream(),
        None => Index::from(number).to_token_stream(),
    }
}

/// `{ field: read, ... }`: reads each field in order, and gives up at the first that no value has.
fn build(fields: &Fields) -> TokenStream {
    let parts = fields.iter().enumerate().map(|(number, field)| {
        let member = member(number, field.ident.as_ref());
        let ty = &field.ty;
        quote!(#member: <#ty as ::baton_rpc::Wire>::get(from)?)
    });
    quote!({ #(#parts),* })
}

/// `from` or `out`, or `_` where no word is moved.
fn unless_empty(name: &str, empty: bool) -> Ident {
    if empty {
        format_ident!("_{name}")
    } else {
        format_ident!("{name}")
    }
}

fn of_struct(fields: &Fields) -> TokenStream {
    let words = sum(fields.iter().map(|field| &field.ty));
    let put = fields.iter().enumerate().map(|(number, field)| {
        let member = member(number, field.ident.as_ref());
        quote!(::baton_rpc::Wire::put(&self.#member, out);)
    });
    let fill = build(fields);
    let out = unless_empty("out", fields.is_empty());
    let from = unless_empty("from", fields.is_empty());
    quote! {
        const WORDS: usize = #words;

        #[inline]
        fn put(&self, #out: &mut impl ::baton_rpc::WireWriter) { #(#put)* }

        #[inline]
        fn get(#from: &mut impl ::baton_rpc::WireReader) -> ::core::option::Option<Self> {
            ::core::option::Option::Some(Self #fill)
        }
    }
}

fn of_enum(variants: &[(&Ident, &Fields)]) -> TokenStream {
    let sizes: Vec<_> = variants
        .iter()
        .map(|(_, fields)| sum(fields.iter().map(|field| &field.ty)))
        .collect();
    let put = variants.iter().enumerate().map(|(position, (name, fields))| {
        let size = &sizes[position];
        let position = position as u64;
        let locals: Vec<_> = (0..fields.len()).map(|n| format_ident!("field{n}")).collect();
        let members = fields
            .iter()
            .enumerate()
            .map(|(number, field)| member(number, field.ident.as_ref()));
        quote! {
            Self::#name { #(#members: #locals),* } => {
                ::baton_rpc::WireWriter::word(out, #position);
                #(::baton_rpc::Wire::put(#locals, out);)*
                ::baton_rpc::WireWriter::zeros(out, <Self as ::baton_rpc::Wire>::WORDS - 1usize - (#size));
            }
        }
    });
    let get = variants.iter().enumerate().map(|(position, (name, fields))| {
        let size = &sizes[position];
        let position = position as u64;
        let fill = build(fields);
        quote! {
            #position => {
                let value = Self::#name #fill;
                ::baton_rpc::WireReader::skip(from, <Self as ::baton_rpc::Wire>::WORDS - 1usize - (#size));
                ::core::option::Option::Some(value)
            }
        }
    });
    quote! {
        const WORDS: usize = {
            let sizes = [#(#sizes),*];
            let mut largest = 0usize;
            let mut position = 0usize;
            while position < sizes.len() {
                if sizes[position] > largest {
                    largest = sizes[position];
                }
                position += 1usize;
            }
            1usize + largest
        };

        #[inline]
        fn put(&self, out: &mut impl ::baton_rpc::WireWriter) {
            match self { #(#put)* }
        }

        #[inline]
        fn get(from: &mut impl ::baton_rpc::WireReader) -> ::core::option::Option<Self> {
            match ::baton_rpc::WireReader::word(from) {
                #(#get)*
                _ => ::core::option::Option::None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(item: TokenStream) -> String {
        expand(item).unwrap_err().to_string()
    }

    #[test]
    fn a_struct_takes_its_fields_in_order() {
        let expected = quote! {
            #[automatically_derived]
            impl ::baton_rpc::Wire for Point {
                const WORDS: usize = 0usize
                    + <u32 as ::baton_rpc::Wire>::WORDS
                    + <bool as ::baton_rpc::Wire>::WORDS;

                #[inline]
                fn put(&self, out: &mut impl ::baton_rpc::WireWriter) {
                    ::baton_rpc::Wire::put(&self.x, out);
                    ::baton_rpc::Wire::put(&self.on, out);
                }

                #[inline]
                fn get(from: &mut impl ::baton_rpc::WireReader) -> ::core::option::Option<Self> {
                    ::core::option::Option::Some(Self {
                        x: <u32 as ::baton_rpc::Wire>::get(from)?,
                        on: <bool as ::baton_rpc::Wire>::get(from)?
                    })
                }
            }
        };
        let expanded = expand(quote!(
            struct Point {
                x: u32,
                on: bool,
            }
        ))
        .unwrap();
        assert_eq!(expanded.to_string(), expected.to_string());
    }

    #[test]
    fn what_has_no_fixed_layout_is_refused() {
        assert_eq!(
            error(quote!(
                struct Pair<T>(T, T);
            )),
            "`Wire` cannot be derived for a generic type: its layout would not be fixed"
        );
        assert_eq!(
            error(quote!(
                struct Text<'a>(&'a str);
            )),
            "`Wire` cannot be derived for a generic type: its layout would not be fixed"
        );
        assert_eq!(
            error(quote!(union Bits { a: u32, b: f32 })),
            "`Wire` cannot be derived for a union: nothing says which field is meant"
        );
        assert_eq!(
            error(quote!(
                enum Never {}
            )),
            "an enum without variants has no value that could be sent"
        );
    }
}
