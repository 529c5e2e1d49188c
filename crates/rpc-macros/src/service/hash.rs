//! The number of an interface: equal signatures, equal numbers.

use super::model::{Kind, Passed, Service};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;

/// FNV-1a over the normalised text of the methods' signatures.
pub(super) fn interface(service: &Service) -> u64 {
    fnv1a(normalised(service).as_bytes())
}

/// The signatures without documentation, argument names and spacing: one line a method.
pub(super) fn normalised(service: &Service) -> String {
    let mut text = String::new();
    for method in &service.methods {
        text.push_str(match method.kind {
            Kind::Request { .. } => "async fn ",
            Kind::OneWay => "fn ",
        });
        text.push_str(&method.name.unraw().to_string());
        text.push('(');
        for argument in &method.arguments {
            match argument.passed {
                Passed::Inline => append(argument.ty.to_token_stream(), &mut text),
                // The user may write a path before these names.
                Passed::BulkIn => text.push_str(" BulkIn"),
                Passed::BulkOut => text.push_str(" BulkOut"),
            }
            text.push(',');
        }
        text.push(')');
        if let Kind::Request { answer } = &method.kind {
            text.push_str("->");
            append(answer.to_token_stream(), &mut text);
        }
        text.push('\n');
    }
    text
}

/// Appends the tokens with one space before each, whatever the spacing in the source.
fn append(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => (" (", " )"),
                    Delimiter::Brace => (" {", " }"),
                    Delimiter::Bracket => (" [", " ]"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                append(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Ident(ident) => {
                text.push(' ');
                text.push_str(&ident.unraw().to_string());
            }
            TokenTree::Punct(punct) => {
                text.push(' ');
                text.push(punct.as_char());
            }
            TokenTree::Literal(literal) => {
                text.push(' ');
                text.push_str(&literal.to_string());
            }
        }
    }
}

/// The 64-bit FNV-1a hash.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_has_its_published_values() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
