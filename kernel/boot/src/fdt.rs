//! The flattened device tree: a walk over its nodes, without memory of its own.
//!
//! Source: Devicetree Specification 0.4, chapter 5. Words are big-endian.

const MAGIC: u32 = 0xd00d_feed;
/// Bytes of the header that a reader needs to see before it knows the size.
pub const HEADER_BYTES: usize = 40;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
/// Nodes nest no deeper than this; a deeper tree is refused.
const MAX_DEPTH: usize = 16;
/// The largest tree that is believed: it is copied, and it goes into the root task's boot info.
pub const MAX_BYTES: usize = 1 << 20;

/// Why a device tree cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FdtError {
    /// It does not start like one.
    NoDeviceTree,
    /// Its size is impossible.
    BadSize,
    /// It ends in the middle of something, or its parts are not where it says.
    Broken,
}

/// How many words of a node's children's `reg` make an address and a size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cells {
    /// Words of an address.
    pub address: u32,
    /// Words of a size.
    pub size: u32,
}

impl Cells {
    /// What the specification says where the tree says nothing.
    const DEFAULT: Self = Self {
        address: 2,
        size: 1,
    };
}

/// The bytes of the whole tree, from its header; `header` is at least [`HEADER_BYTES`] long.
///
/// # Errors
/// `NoDeviceTree` and `BadSize`.
pub fn total_size(header: &[u8]) -> Result<usize, FdtError> {
    if word(header, 0) != Some(MAGIC) {
        return Err(FdtError::NoDeviceTree);
    }
    word(header, 4)
        .and_then(|size| usize::try_from(size).ok())
        .filter(|size| (HEADER_BYTES..=MAX_BYTES).contains(size))
        .ok_or(FdtError::BadSize)
}

/// A device tree.
#[derive(Clone, Copy, Debug)]
pub struct Fdt<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
}

/// A node, seen in the walk.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Its name with the unit address.
    pub name: &'a str,
    /// How deep it is; the root is at 0.
    pub depth: usize,
    /// How its `reg` is to be read: as its parent says.
    pub cells: Cells,
    properties: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Fdt<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(bytes: &'a [u8]) -> Result<Self, FdtError> {
        let size = total_size(bytes)?;
        let bytes = bytes.get(..size).ok_or(FdtError::BadSize)?;
        let part = |offset_at: usize, size_at: usize| {
            let start = usize::try_from(word(bytes, offset_at)?).ok()?;
            let size = usize::try_from(word(bytes, size_at)?).ok()?;
            bytes.get(start..start.checked_add(size)?)
        };
        Ok(Self {
            structure: part(8, 36).ok_or(FdtError::Broken)?,
            strings: part(12, 32).ok_or(FdtError::Broken)?,
        })
    }

    /// Calls `visit` for each node, parents before their children.
    ///
    /// # Errors
    /// `Broken`, after the nodes before that place have been visited.
    pub fn walk(&self, mut visit: impl FnMut(&Node<'a>)) -> Result<(), FdtError> {
        let mut cells = [Cells::DEFAULT; MAX_DEPTH + 1];
        let mut depth = 0;
        let mut at = 0;
        loop {
            match word(self.structure, at).ok_or(FdtError::Broken)? {
                BEGIN_NODE => {
                    let name = string(self.structure, at + 4).ok_or(FdtError::Broken)?;
                    let start = at + 4 + padded(name.len() + 1);
                    let end = self.skip_properties(start)?;
                    let node = Node {
                        name,
                        depth,
                        cells: *cells.get(depth).ok_or(FdtError::Broken)?,
                        properties: self.structure.get(start..end).ok_or(FdtError::Broken)?,
                        strings: self.strings,
                    };
                    depth += 1;
                    *cells.get_mut(depth).ok_or(FdtError::Broken)? = node.child_cells();
                    visit(&node);
                    at = end;
                }
                END_NODE => {
                    depth = depth.checked_sub(1).ok_or(FdtError::Broken)?;
                    at += 4;
                }
                NOP => at += 4,
                END if depth == 0 => return Ok(()),
                _ => return Err(FdtError::Broken),
            }
        }
    }

    /// Where the properties that start here end.
    fn skip_properties(&self, mut at: usize) -> Result<usize, FdtError> {
        loop {
            match word(self.structure, at).ok_or(FdtError::Broken)? {
                PROPERTY => {
                    let length = word(self.structure, at + 4).ok_or(FdtError::Broken)?;
                    let length = usize::try_from(length).map_err(|_| FdtError::Broken)?;
                    at = at
                        .checked_add(12 + padded(length))
                        .filter(|&end| end <= self.structure.len())
                        .ok_or(FdtError::Broken)?;
                }
                NOP => at += 4,
                _ => return Ok(at),
            }
        }
    }
}

impl<'a> Node<'a> {
    /// The bytes of a property; `None` if the node does not have it.
    pub fn property(&self, name: &str) -> Option<&'a [u8]> {
        let mut at = 0;
        loop {
            match word(self.properties, at)? {
                PROPERTY => {
                    let length = usize::try_from(word(self.properties, at + 4)?).ok()?;
                    let name_at = usize::try_from(word(self.properties, at + 8)?).ok()?;
                    if is_string(self.strings, name_at, name) {
                        return self.properties.get(at + 12..at + 12 + length);
                    }
                    at += 12 + padded(length);
                }
                _ => at += 4,
            }
        }
    }

    /// A property of one word.
    pub fn word(&self, name: &str) -> Option<u32> {
        self.property(name).and_then(|bytes| word(bytes, 0))
    }

    /// Whether a property that is a list of strings has this one.
    pub fn lists(&self, name: &str, wanted: &str) -> bool {
        self.property(name).is_some_and(|bytes| {
            bytes
                .split(|&byte| byte == 0)
                .any(|entry| entry == wanted.as_bytes())
        })
    }

    /// The addresses and sizes of its `reg`. Words beyond 64 bits are cut off.
    pub fn reg(&self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let Cells { address, size } = self.cells;
        let mut words = self.words("reg");
        let mut number = move |cells| {
            (0..cells).try_fold(0_u64, |number, _| {
                words.next().map(|low| (number << 32) | u64::from(low))
            })
        };
        core::iter::from_fn(move || {
            if address == 0 || address > 2 || size > 2 {
                return None;
            }
            Some((number(address)?, number(size)?))
        })
    }

    /// The words of a property.
    pub fn words(&self, name: &str) -> impl Iterator<Item = u32> + use<'a> {
        let bytes = self.property(name).unwrap_or_default();
        bytes
            .chunks_exact(4)
            .filter_map(|bytes| bytes.try_into().ok().map(u32::from_be_bytes))
    }

    fn child_cells(&self) -> Cells {
        let Cells { address, size } = Cells::DEFAULT;
        Cells {
            address: self.word("#address-cells").unwrap_or(address),
            size: self.word("#size-cells").unwrap_or(size),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

/// The string that starts there, up to its zero.
fn string(bytes: &[u8], at: usize) -> Option<&str> {
    let bytes = bytes.get(at..)?;
    let end = bytes.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(bytes.get(..end)?).ok()
}

/// Whether the string that starts there is this one: without looking for its end, for trees have hundreds of names.
fn is_string(bytes: &[u8], at: usize, wanted: &str) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    let behind = rest.strip_prefix(wanted.as_bytes());
    behind.is_some_and(|behind| behind.first() == Some(&0))
}

/// Rounded up to whole words. Cannot overflow: lengths come from 32-bit words or from slices.
const fn padded(length: usize) -> usize {
    (length + 3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fdt_writer::Writer;

    #[test]
    fn property_is_found_by_its_whole_name() {
        let mut tree = Writer::default();
        tree.node("", |root| {
            root.words("reg-names", &[1]);
            root.words("re", &[2]);
            root.words("a-reg", &[3]);
            root.words("reg", &[4]);
        });
        let bytes = tree.finish();
        let tree = Fdt::new(&bytes).expect("a tree");
        let mut found = [None; 4];
        let walked = tree.walk(|node| found = ["reg", "reg-", "re", ""].map(|n| node.word(n)));
        assert_eq!(walked, Ok(()));
        assert_eq!(found, [Some(4), None, Some(2), None]);
    }

    #[test]
    fn name_that_does_not_end_is_none() {
        assert!(is_string(b"x\0reg\0", 2, "reg"));
        assert!(!is_string(b"x\0reg", 2, "reg"));
        assert!(!is_string(b"reg\0", 9, "reg"));
    }
}
