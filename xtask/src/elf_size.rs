//! How large a program is: the sections of an ELF file that are in memory when it runs.
//!
//! Source: System V ABI, chapter 4 (section header table), for 64-bit files of the little end.

/// Bytes of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Code, and data that is never written.
    pub text: u64,
    /// Data that is written and has values in the file.
    pub data: u64,
    /// Data that begins as zeros.
    pub bss: u64,
    /// From the first byte in memory to behind the last, gaps included.
    pub loaded: u64,
}

const WRITE: u64 = 1;
const ALLOC: u64 = 2;
const NOBITS: u32 = 8;

/// Adds up the sections.
///
/// # Errors
/// `None` if this is no such file, or it has no sections.
pub fn size(file: &[u8]) -> Option<Size> {
    if file.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = usize::try_from(word(file, 40)?).ok()?;
    let entry = usize::from(half(file, 58)?);
    let count = usize::from(half(file, 60)?);
    let mut size = Size::default();
    let (mut first, mut last) = (u64::MAX, 0);
    for index in 0..count {
        let header = file.get(table.checked_add(index.checked_mul(entry)?)?..)?;
        let kind = u32::from_le_bytes(header.get(4..8)?.try_into().ok()?);
        let (flags, address, bytes) = (word(header, 8)?, word(header, 16)?, word(header, 32)?);
        if flags & ALLOC == 0 || bytes == 0 {
            continue;
        }
        let sum = match (kind, flags & WRITE) {
            (NOBITS, _) => &mut size.bss,
            (_, WRITE) => &mut size.data,
            _ => &mut size.text,
        };
        *sum = sum.checked_add(bytes)?;
        first = first.min(address);
        last = last.max(address.checked_add(bytes)?);
    }
    if last == 0 {
        return None;
    }
    size.loaded = last - first;
    Some(size)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    bytes.try_into().ok().map(u16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of nothing but a header and a table of sections: kind, flags, address, bytes.
    fn file(sections: &[(u32, u64, u64, u64)]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[40..48].copy_from_slice(&64_u64.to_le_bytes());
        file[58..60].copy_from_slice(&64_u16.to_le_bytes());
        file[60..62].copy_from_slice(&(sections.len() as u16).to_le_bytes());
        for &(kind, flags, address, bytes) in sections {
            let mut header = [0; 64];
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            for (at, value) in [(8, flags), (16, address), (32, bytes)] {
                header[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            file.extend(header);
        }
        file
    }

    #[test]
    fn sections_in_memory_are_added_up() {
        let file = file(&[
            (0, 0, 0, 0),
            (1, ALLOC | 4, 0x1000, 100),
            (1, ALLOC, 0x1080, 20),
            (1, ALLOC | WRITE, 0x2000, 30),
            (NOBITS, ALLOC | WRITE, 0x3000, 40),
            // Debugging information is not in memory.
            (1, 0, 0, 5000),
        ]);
        let expected = Size {
            text: 120,
            data: 30,
            bss: 40,
            loaded: 0x2000 + 40,
        };
        assert_eq!(size(&file), Some(expected));
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        let good = file(&[(1, ALLOC, 0x1000, 100)]);
        assert!(size(&good).is_some());
        assert_eq!(size(&good[..100]), None);
        assert_eq!(size(b"\x7fELF\x01\x01"), None);
        assert_eq!(size(&file(&[])), None);
        assert_eq!(size(&file(&[(1, ALLOC, u64::MAX, 100)])), None);
    }
}
