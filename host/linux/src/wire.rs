//! The bytes of the handshake's messages: little-endian words of fixed number, magic and version first.
//!
//! ```text
//! every message   0 magic  1 version | kind << 32
//! Hello           2 interface  3 back interface  4 wanted credits | offered credits << 32
//!                 5 request bulk bytes | answer bulk bytes << 32  6..10 name
//! Offer           2 granted credits | taken credits << 32  3 bulk bytes as above  4 client's bit  5..9 name
//! Refused         2 reason  3 detail
//! Bind            2 server's bit
//! ```
//!
//! Decoding never trusts a length; what the numbers mean is checked by `handshake`.

use core::fmt;

/// First word of every message.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"batonhs\0");
/// Version of these messages.
pub(crate) const VERSION: u32 = 1;
/// Longest name of a process, in bytes.
pub(crate) const NAME_BYTES: usize = 32;
/// Size of the longest message.
pub(crate) const MAX_BYTES: usize = HELLO_WORDS * 8;

const HELLO: u32 = 1;
const OFFER: u32 = 2;
const REFUSED: u32 = 3;
const BIND: u32 = 4;
const HELLO_WORDS: usize = 10;
const OFFER_WORDS: usize = 9;
const REFUSED_WORDS: usize = 4;
const BIND_WORDS: usize = 3;

/// Why bytes are no message that was expected: the peer is corrupt, or of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The message does not begin with the magic word.
    NotBaton,
    /// The message is of another version of the handshake.
    Version(u32),
    /// Another message was expected now.
    Unexpected {
        /// Its kind.
        kind: u32,
    },
    /// The message has the wrong length for its kind.
    Length {
        /// Bytes that it has.
        actual_bytes: usize,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::NotBaton => f.write_str("the peer's message is none of Baton's"),
            WireError::Version(version) => write!(
                f,
                "the peer speaks version {version} of the handshake, this is version {VERSION}"
            ),
            WireError::Unexpected { kind } => {
                write!(f, "the peer sent a message of kind {kind} out of turn")
            }
            WireError::Length { actual_bytes } => {
                write!(
                    f,
                    "the peer's message has a wrong length, {actual_bytes} bytes"
                )
            }
        }
    }
}

impl std::error::Error for WireError {}

/// A name as it travels: zero-padded.
pub(crate) type WireName = [u8; NAME_BYTES];

/// The client's first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) interface: u64,
    pub(crate) back_interface: u64,
    pub(crate) want_credits: u32,
    pub(crate) offer_credits: u32,
    pub(crate) request_bulk_bytes: u32,
    pub(crate) answer_bulk_bytes: u32,
    pub(crate) name: WireName,
}

/// The server's answer when it lets the client in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) granted_credits: u32,
    pub(crate) taken_credits: u32,
    pub(crate) request_bulk_bytes: u32,
    pub(crate) answer_bulk_bytes: u32,
    pub(crate) client_bit: u64,
    pub(crate) name: WireName,
}

/// The server's answer when it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reason: u64,
    pub(crate) detail: u64,
}

/// The client's last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) server_bit: u64,
}

/// What the server may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Offer(Offer),
    Refused(Refused),
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn unpair(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

fn head(kind: u32) -> [u64; 2] {
    [MAGIC, pair(VERSION, kind)]
}

fn name_words(name: &WireName) -> [u64; 4] {
    core::array::from_fn(|i| u64::from_le_bytes(core::array::from_fn(|j| name[i * 8 + j])))
}

fn name_of(words: [u64; 4]) -> WireName {
    core::array::from_fn(|i| words[i / 8].to_le_bytes()[i % 8])
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The kind of a message, if magic and version are ours.
fn kind_of(message: &[u8]) -> Result<u32, WireError> {
    let Some(start) = message.first_chunk::<16>() else {
        return Err(WireError::Length {
            actual_bytes: message.len(),
        });
    };
    let [magic, kind] = words::<2>(start)?;
    if magic != MAGIC {
        return Err(WireError::NotBaton);
    }
    let (version, kind) = unpair(kind);
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    Ok(kind)
}

/// Exactly `N` words.
fn words<const N: usize>(message: &[u8]) -> Result<[u64; N], WireError> {
    let wrong = WireError::Length {
        actual_bytes: message.len(),
    };
    let (chunks, rest) = message.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(wrong);
    }
    let chunks: &[[u8; 8]; N] = chunks.try_into().map_err(|_| wrong)?;
    Ok(chunks.map(u64::from_le_bytes))
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let [magic, kind] = head(HELLO);
        let [n0, n1, n2, n3] = name_words(&self.name);
        bytes(&[
            magic,
            kind,
            self.interface,
            self.back_interface,
            pair(self.want_credits, self.offer_credits),
            pair(self.request_bulk_bytes, self.answer_bulk_bytes),
            n0,
            n1,
            n2,
            n3,
        ])
    }

    pub(crate) fn decode(message: &[u8]) -> Result<Hello, WireError> {
        match kind_of(message)? {
            HELLO => {}
            kind => return Err(WireError::Unexpected { kind }),
        }
        let [
            _,
            _,
            interface,
            back_interface,
            credits,
            bulk,
            n0,
            n1,
            n2,
            n3,
        ] = words::<HELLO_WORDS>(message)?;
        let (want_credits, offer_credits) = unpair(credits);
        let (request_bulk_bytes, answer_bulk_bytes) = unpair(bulk);
        Ok(Hello {
            interface,
            back_interface,
            want_credits,
            offer_credits,
            request_bulk_bytes,
            answer_bulk_bytes,
            name: name_of([n0, n1, n2, n3]),
        })
    }
}

impl Answer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Answer::Offer(offer) => {
                let [magic, kind] = head(OFFER);
                let [n0, n1, n2, n3] = name_words(&offer.name);
                bytes(&[
                    magic,
                    kind,
                    pair(offer.granted_credits, offer.taken_credits),
                    pair(offer.request_bulk_bytes, offer.answer_bulk_bytes),
                    offer.client_bit,
                    n0,
                    n1,
                    n2,
                    n3,
                ])
            }
            Answer::Refused(refused) => {
                let [magic, kind] = head(REFUSED);
                bytes(&[magic, kind, refused.reason, refused.detail])
            }
        }
    }

    pub(crate) fn decode(message: &[u8]) -> Result<Answer, WireError> {
        match kind_of(message)? {
            OFFER => {
                let [_, _, credits, bulk, client_bit, n0, n1, n2, n3] =
                    words::<OFFER_WORDS>(message)?;
                let (granted_credits, taken_credits) = unpair(credits);
                let (request_bulk_bytes, answer_bulk_bytes) = unpair(bulk);
                Ok(Answer::Offer(Offer {
                    granted_credits,
                    taken_credits,
                    request_bulk_bytes,
                    answer_bulk_bytes,
                    client_bit,
                    name: name_of([n0, n1, n2, n3]),
                }))
            }
            REFUSED => {
                let [_, _, reason, detail] = words::<REFUSED_WORDS>(message)?;
                Ok(Answer::Refused(Refused { reason, detail }))
            }
            kind => Err(WireError::Unexpected { kind }),
        }
    }
}

impl Bind {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let [magic, kind] = head(BIND);
        bytes(&[magic, kind, self.server_bit])
    }

    pub(crate) fn decode(message: &[u8]) -> Result<Bind, WireError> {
        match kind_of(message)? {
            BIND => {}
            kind => return Err(WireError::Unexpected { kind }),
        }
        let [_, _, server_bit] = words::<BIND_WORDS>(message)?;
        Ok(Bind { server_bit })
    }
}

/// A name cut to what can travel.
pub(crate) fn to_wire_name(name: &str) -> WireName {
    let mut wire = [0; NAME_BYTES];
    for (to, from) in wire.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    wire
}

/// A peer's name, fit to be printed whatever it sent.
pub(crate) fn from_wire_name(wire: &WireName) -> String {
    let used = wire.iter().position(|&b| b == 0).unwrap_or(NAME_BYTES);
    String::from_utf8_lossy(wire.get(..used).unwrap_or_default())
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// For the fuzzer: the messages as which `message` is accepted, each encoded again, with the name in it.
#[doc(hidden)]
pub fn decoded_and_encoded(message: &[u8]) -> Vec<(Vec<u8>, Option<String>)> {
    let hello =
        Hello::decode(message).map(|hello| (hello.encode(), Some(from_wire_name(&hello.name))));
    let answer = Answer::decode(message).map(|answer| {
        let name = match &answer {
            Answer::Offer(offer) => Some(from_wire_name(&offer.name)),
            Answer::Refused(_) => None,
        };
        (answer.encode(), name)
    });
    let bind = Bind::decode(message).map(|bind| (bind.encode(), None));
    [hello, answer, bind].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            interface: 1,
            back_interface: 2,
            want_credits: 3,
            offer_credits: 4,
            request_bulk_bytes: 5,
            answer_bulk_bytes: 6,
            name: to_wire_name("someone"),
        }
    }

    #[test]
    fn messages_survive_the_way() {
        assert_eq!(Hello::decode(&hello().encode()), Ok(hello()));
        let offer = Answer::Offer(Offer {
            granted_credits: 1,
            taken_credits: 2,
            request_bulk_bytes: 3,
            answer_bulk_bytes: 4,
            client_bit: 5,
            name: to_wire_name("x"),
        });
        assert_eq!(Answer::decode(&offer.encode()), Ok(offer));
        let refused = Answer::Refused(Refused {
            reason: 7,
            detail: u64::MAX,
        });
        assert_eq!(Answer::decode(&refused.encode()), Ok(refused));
        let bind = Bind { server_bit: 127 };
        assert_eq!(Bind::decode(&bind.encode()), Ok(bind));
    }

    #[test]
    fn every_other_length_is_refused() {
        let mut message = hello().encode();
        for len in 0..message.len() {
            let cut = message.get(..len).unwrap();
            assert_eq!(
                Hello::decode(cut),
                Err(WireError::Length { actual_bytes: len })
            );
        }
        message.push(0);
        assert!(matches!(
            Hello::decode(&message),
            Err(WireError::Length { .. })
        ));
    }

    #[test]
    fn other_versions_and_kinds_are_named() {
        let mut message = hello().encode();
        message[8] = 9;
        assert_eq!(Hello::decode(&message), Err(WireError::Version(9)));
        message[0] = 0;
        assert_eq!(Hello::decode(&message), Err(WireError::NotBaton));
        assert_eq!(
            Hello::decode(&Bind { server_bit: 0 }.encode()),
            Err(WireError::Unexpected { kind: BIND })
        );
    }

    #[test]
    fn hostile_names_can_be_printed() {
        let mut wire = [0xff; NAME_BYTES];
        wire[0] = 0x1b;
        let name = from_wire_name(&wire);
        assert!(!name.contains('\u{1b}'));
        assert_eq!(
            from_wire_name(&to_wire_name(&"ä".repeat(40)))
                .chars()
                .count(),
            16
        );
    }
}
