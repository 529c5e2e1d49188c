//! `#[service]`: from the trait to its expansion.
//!
//! [`parse`] judges the trait and says what is wrong with it; [`write`](mod@write) writes the code of one that
//! is right; [`hash`] gives its interface a number.

mod hash;
mod model;
mod parse;
mod write;

#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use syn::{Error, Result};

/// The trait, its client, its server and its interface.
pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !attribute.is_empty() {
        return Err(Error::new_spanned(
            attribute,
            "`#[service]` takes no arguments",
        ));
    }
    let service = parse::parse(syn::parse2(item)?)?;
    Ok(write::write(&service))
}
