//! What the loader carries: kernel, root task and, if wanted, a device tree, behind one header.
//!
//! `cargo xtask image` writes it into a segment of its own that starts on the first page behind the loader.

/// First word of the header: "baton-p1".
const MAGIC: u64 = u64::from_le_bytes(*b"baton-p1");
/// Words of the header: the magic, then offset and length of each part.
const HEADER_WORDS: usize = 7;
/// Bytes of the header.
pub const HEADER_BYTES: usize = HEADER_WORDS * 8;
/// Each part starts at a multiple of this.
pub const ALIGNMENT: usize = 16;

/// Why there is no payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadError {
    /// The header is not there: the loader was started without an image around it.
    Missing,
    /// A part lies outside.
    Broken,
}

/// The parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload<'a> {
    /// The kernel's ELF file.
    pub kernel: &'a [u8],
    /// The root task's ELF file.
    pub root_task: &'a [u8],
    /// A device tree in place of the firmware's; empty for none.
    pub device_tree: &'a [u8],
}

/// Where the parts lie, behind the start of the header: offset and length of kernel, root task and device tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    parts: [(u64, u64); 3],
}

impl Header {
    /// Reads the header.
    ///
    /// # Errors
    /// `Missing`.
    pub fn parse(bytes: &[u8]) -> Result<Self, PayloadError> {
        let word = |index: usize| -> Result<u64, PayloadError> {
            bytes
                .get(index * 8..index * 8 + 8)
                .and_then(|bytes| bytes.try_into().ok())
                .map(u64::from_le_bytes)
                .ok_or(PayloadError::Missing)
        };
        if word(0)? != MAGIC {
            return Err(PayloadError::Missing);
        }
        Ok(Self {
            parts: [
                (word(1)?, word(2)?),
                (word(3)?, word(4)?),
                (word(5)?, word(6)?),
            ],
        })
    }

    /// The layout for parts of these lengths: the header, and the length of everything.
    pub fn plan(kernel: usize, root_task: usize, device_tree: usize) -> (Self, usize) {
        let mut end = HEADER_BYTES;
        let mut place = |length: usize| {
            let start = end.next_multiple_of(ALIGNMENT);
            end = start + length;
            (start as u64, length as u64)
        };
        let parts = [place(kernel), place(root_task), place(device_tree)];
        (Self { parts }, end)
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let [(a, b), (c, d), (e, f)] = self.parts;
        let mut bytes = [0; HEADER_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip([MAGIC, a, b, c, d, e, f]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Where each part starts: kernel, root task, device tree.
    pub fn offsets(&self) -> [u64; 3] {
        self.parts.map(|(offset, _)| offset)
    }

    /// The length of header and parts together; `None` if it is impossible.
    pub fn total(&self) -> Option<usize> {
        let mut end = HEADER_BYTES as u64;
        for (offset, length) in self.parts {
            end = end.max(offset.checked_add(length)?);
        }
        usize::try_from(end).ok()
    }

    /// The parts in a slice of [`Header::total`] bytes.
    ///
    /// # Errors
    /// `Broken` when a part lies outside.
    pub fn open<'a>(&self, bytes: &'a [u8]) -> Result<Payload<'a>, PayloadError> {
        let part = |(offset, length): (u64, u64)| {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            bytes.get(start..end)
        };
        let [kernel, root_task, device_tree] = self.parts;
        Ok(Payload {
            kernel: part(kernel).ok_or(PayloadError::Broken)?,
            root_task: part(root_task).ok_or(PayloadError::Broken)?,
            device_tree: part(device_tree).ok_or(PayloadError::Broken)?,
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn what_was_planned_is_found() {
        let (header, total) = Header::plan(5, 7, 0);
        let mut bytes = std::vec![0; total];
        bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        let [kernel, root, _] = header.offsets();
        bytes[kernel as usize..][..5].copy_from_slice(b"kerne");
        bytes[root as usize..][..7].copy_from_slice(b"roottas");
        let header = Header::parse(&bytes).expect("there");
        assert_eq!(header.total(), Some(total));
        let payload = header.open(&bytes).expect("whole");
        assert_eq!(payload.kernel, b"kerne");
        assert_eq!(payload.root_task, b"roottas");
        assert!(payload.device_tree.is_empty());
        assert_eq!(header.open(&bytes[..total - 1]), Err(PayloadError::Broken));
    }

    #[test]
    fn other_bytes_are_no_payload() {
        assert_eq!(Header::parse(&[0; 64]), Err(PayloadError::Missing));
        assert_eq!(Header::parse(b"baton-p1"), Err(PayloadError::Missing));
        let mut bytes = Header::plan(1, 1, 1).0.to_bytes();
        bytes[8..24].fill(0xff);
        assert_eq!(Header::parse(&bytes).expect("magic").total(), None);
    }
}
