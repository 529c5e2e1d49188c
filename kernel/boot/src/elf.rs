//! ELF files for RISC-V 64, as far as a loader needs them: the entry and the segments to load.
//!
//! Source: the System V ABI's chapter on object files, and the RISC-V psABI for the machine number.

/// Bytes of the file header.
const HEADER: usize = 64;
/// Bytes of a program header.
const PROGRAM_HEADER: usize = 56;
const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const TYPE_EXECUTABLE: u16 = 2;
const MACHINE_RISCV: u16 = 243;
const LOAD: u32 = 1;

/// Why a file cannot be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElfError {
    /// It is no ELF file for RISC-V 64 at all.
    NotForThisMachine,
    /// It is not linked to fixed addresses.
    NotExecutable,
    /// A header or a segment lies outside the file.
    Truncated,
    /// A segment's addresses are impossible.
    BadSegment,
    /// There is nothing to load.
    Empty,
}

/// What a segment may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permissions {
    /// Data may be read.
    pub read: bool,
    /// Data may be written.
    pub write: bool,
    /// Instructions may be fetched.
    pub execute: bool,
}

/// A segment to load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// Where it starts in virtual memory.
    pub vaddr: u64,
    /// Where it starts in physical memory, by the linker's wish.
    pub paddr: u64,
    /// What it starts with; the rest is zero.
    pub data: &'a [u8],
    /// Its bytes in memory; at least those of `data`.
    pub memory_size: u64,
    /// What it may be used for.
    pub permissions: Permissions,
}

impl Segment<'_> {
    /// The address behind its last byte in virtual memory. Does not overflow: `segments` has checked it.
    pub const fn vaddr_end(&self) -> u64 {
        self.vaddr.saturating_add(self.memory_size)
    }
}

/// An executable file.
#[derive(Clone, Copy, Debug)]
pub struct Elf<'a> {
    file: &'a [u8],
    entry: u64,
    table: u64,
    entry_size: usize,
    entries: u16,
}

impl<'a> Elf<'a> {
    /// Reads the header and checks that all segments are possible.
    ///
    /// # Errors
    /// The first thing that is wrong with the file.
    pub fn parse(file: &'a [u8]) -> Result<Self, ElfError> {
        let header = file.get(..HEADER).ok_or(ElfError::NotForThisMachine)?;
        let fits = header.starts_with(MAGIC)
            && header.get(4) == Some(&CLASS_64)
            && header.get(5) == Some(&LITTLE_ENDIAN)
            && u16_at(header, 18) == Some(MACHINE_RISCV);
        if !fits {
            return Err(ElfError::NotForThisMachine);
        }
        if u16_at(header, 16) != Some(TYPE_EXECUTABLE) {
            return Err(ElfError::NotExecutable);
        }
        let truncated = ElfError::Truncated;
        let elf = Self {
            file,
            entry: u64_at(header, 24).ok_or(truncated)?,
            table: u64_at(header, 32).ok_or(truncated)?,
            entry_size: usize::from(u16_at(header, 54).ok_or(truncated)?),
            entries: u16_at(header, 56).ok_or(truncated)?,
        };
        let mut loadable = false;
        for index in 0..elf.entries {
            loadable |= elf.segment(index)?.is_some();
        }
        if loadable {
            Ok(elf)
        } else {
            Err(ElfError::Empty)
        }
    }

    /// The virtual address at which execution starts.
    pub const fn entry(&self) -> u64 {
        self.entry
    }

    /// The segments to load, in the file's order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'a>> + use<'a> {
        let elf = *self;
        // `parse` has seen each without an error.
        (0..elf.entries).filter_map(move |index| elf.segment(index).ok().flatten())
    }

    /// The virtual addresses from the start of the lowest segment to the end of the highest.
    pub fn virtual_range(&self) -> (u64, u64) {
        self.segments()
            .fold((u64::MAX, 0), |(start, end), segment| {
                (start.min(segment.vaddr), end.max(segment.vaddr_end()))
            })
    }

    /// The physical addresses from the start of the lowest segment to the end of the highest.
    pub fn physical_range(&self) -> (u64, u64) {
        self.segments()
            .fold((u64::MAX, 0), |(start, end), segment| {
                let segment_end = segment.paddr.saturating_add(segment.memory_size);
                (start.min(segment.paddr), end.max(segment_end))
            })
    }

    /// The segment in that row of the table; `None` if it is not to be loaded.
    fn segment(&self, index: u16) -> Result<Option<Segment<'a>>, ElfError> {
        let truncated = ElfError::Truncated;
        let start = usize::try_from(self.table)
            .ok()
            .and_then(|table| table.checked_add(usize::from(index) * self.entry_size))
            .ok_or(truncated)?;
        let end = start.checked_add(PROGRAM_HEADER).ok_or(truncated)?;
        let row = self.file.get(start..end).ok_or(truncated)?;
        let word = |at| u64_at(row, at).ok_or(truncated);
        let memory_size = word(40)?;
        if u32_at(row, 0) != Some(LOAD) || memory_size == 0 {
            return Ok(None);
        }
        let flags = u32_at(row, 4).ok_or(truncated)?;
        let (offset, vaddr, paddr, file_size) = (word(8)?, word(16)?, word(24)?, word(32)?);
        let data = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(file_size).ok())
            .and_then(|(offset, size)| self.file.get(offset..offset.checked_add(size)?))
            .ok_or(truncated)?;
        let possible = file_size <= memory_size
            && vaddr.checked_add(memory_size).is_some()
            && paddr.checked_add(memory_size).is_some();
        if !possible {
            return Err(ElfError::BadSegment);
        }
        Ok(Some(Segment {
            vaddr,
            paddr,
            data,
            memory_size,
            permissions: Permissions {
                read: flags & 4 != 0,
                write: flags & 2 != 0,
                execute: flags & 1 != 0,
            },
        }))
    }
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    /// A file with one segment of 4 bytes in the file and 16 in memory.
    fn sample() -> Vec<u8> {
        let mut file = std::vec![0; HEADER + PROGRAM_HEADER];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, MAGIC);
        put(4, &[CLASS_64, LITTLE_ENDIAN, 1]);
        put(16, &TYPE_EXECUTABLE.to_le_bytes());
        put(18, &MACHINE_RISCV.to_le_bytes());
        put(24, &0x1_0004_u64.to_le_bytes());
        put(32, &(HEADER as u64).to_le_bytes());
        put(54, &(PROGRAM_HEADER as u16).to_le_bytes());
        put(56, &1_u16.to_le_bytes());
        let row = HEADER;
        put(row, &LOAD.to_le_bytes());
        put(row + 4, &5_u32.to_le_bytes());
        for (i, word) in [(HEADER + PROGRAM_HEADER) as u64, 0x1_0000, 0x8000, 4, 16]
            .into_iter()
            .enumerate()
        {
            put(row + 8 + i * 8, &word.to_le_bytes());
        }
        file.extend_from_slice(b"code");
        file
    }

    #[test]
    fn segment_is_read_as_written() {
        let file = sample();
        let elf = Elf::parse(&file).expect("good");
        assert_eq!(elf.entry(), 0x1_0004);
        assert_eq!(elf.virtual_range(), (0x1_0000, 0x1_0010));
        assert_eq!(elf.physical_range(), (0x8000, 0x8010));
        let segment = elf.segments().next().expect("one");
        assert_eq!(segment.data, b"code");
        assert_eq!((segment.memory_size, segment.vaddr_end()), (16, 0x1_0010));
        let Permissions {
            read,
            write,
            execute,
        } = segment.permissions;
        assert_eq!((read, write, execute), (true, false, true));
    }

    #[test]
    fn each_mistake_has_its_error() {
        let changed = |at: usize, byte: u8| {
            let mut file = sample();
            file[at] = byte;
            Elf::parse(&file).map(|_| ()).expect_err("refused")
        };
        assert_eq!(changed(0, 0), ElfError::NotForThisMachine);
        assert_eq!(changed(18, 62), ElfError::NotForThisMachine);
        assert_eq!(changed(16, 3), ElfError::NotExecutable);
        assert_eq!(changed(HEADER, 2), ElfError::Empty);
        assert_eq!(changed(HEADER + 32, 17), ElfError::Truncated);
        assert_eq!(changed(HEADER + 40, 3), ElfError::BadSegment);
        assert_eq!(changed(39, 0xff), ElfError::Truncated);
    }

    #[test]
    fn no_bytes_whatever_cause_a_panic() {
        let file = sample();
        for at in 0..file.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut file = file.clone();
                file[at] = byte;
                if let Ok(elf) = Elf::parse(&file) {
                    assert!(elf.segments().count() <= usize::from(elf.entries));
                }
            }
            assert!(Elf::parse(&file[..at]).is_err());
        }
    }
}
