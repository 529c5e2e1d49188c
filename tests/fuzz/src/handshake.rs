//! Arbitrary bytes as messages of the handshake on Linux, and as names.

use crate::input::Input;
use baton_linux::{ServiceName, decoded_and_encoded};

/// First word of a message, and the one behind it but for the kind: random bytes would hardly ever begin like that.
const START: [u8; 12] = *b"batonhs\0\x01\0\0\0";
/// Longest message that is tried; correct ones are shorter.
const MOST_BYTES: usize = 128;

/// The first byte says whether a correct beginning stands before the rest.
pub fn run(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    match first % 3 {
        0 => message(rest),
        1 => {
            // The right beginning, kind, and number of words behind it.
            let mut input = Input::new(rest);
            let (kind, words) = (input.get::<u8>() % 6, input.below(12));
            let mut bytes = START.to_vec();
            bytes.extend(u32::from(kind).to_le_bytes());
            for _ in 0..words {
                bytes.extend(input.word().to_le_bytes());
            }
            message(&bytes);
        }
        _ => name(rest),
    }
}

fn message(bytes: &[u8]) {
    let bytes = bytes.get(..MOST_BYTES).unwrap_or(bytes);
    let accepted = decoded_and_encoded(bytes);
    assert!(accepted.len() <= 1, "a message is of one kind");
    for (again, name) in accepted {
        assert_eq!(again, bytes, "nothing in a message is ignored");
        if let Some(name) = name {
            assert!(name.chars().count() <= 32 && !name.chars().any(char::is_control));
        }
    }
}

fn name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match ServiceName::new(&text) {
        Ok(name) => {
            assert_eq!(name.as_str(), text);
            assert!(!text.is_empty() && text.is_ascii() && !text.contains('/'));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
