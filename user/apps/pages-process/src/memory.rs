//! Memory that the server has mapped here, word by word.
#![allow(unsafe_code)]

/// Words of a page.
pub const PAGE_WORDS: u64 = 512;

/// The word at `address`.
pub fn read(address: u64) -> u64 {
    // SAFETY: the address lies in the window that is the memory server's to map, or in the server's own kernel lane, where nothing is that
    // Rust's rules know of; if nothing is mapped there it faults, and so it must.
    unsafe { (address as *const u64).read_volatile() }
}

/// Writes the word at `address`.
pub fn write(address: u64, value: u64) {
    // SAFETY: as in `read`.
    unsafe { (address as *mut u64).write_volatile(value) }
}

/// Jumps to `address`.
pub fn execute(address: u64) {
    // SAFETY: what the server maps is not to be executed: the jump faults, and that is what it is for.
    let code: extern "C" fn() = unsafe { core::mem::transmute(address as usize) };
    code();
}

/// The words of each page that are written and read: the first, the last, and some between.
fn addresses(address: u64, pages: u64) -> impl Iterator<Item = u64> {
    (0..pages).flat_map(move |page| {
        [0, 1 + page * 37 % 500, 502, PAGE_WORDS - 1].map(|word| address + page * 4096 + word * 8)
    })
}

fn word(pattern: u64, offset: u64) -> u64 {
    (pattern ^ offset).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// Fills the pages at `address` with a pattern.
pub fn fill(address: u64, pages: u64, pattern: u64) {
    for at in addresses(address, pages) {
        write(at, word(pattern, at - address));
    }
}

/// The first address where the pages at `address` do not have that pattern, or zeros where there is none.
pub fn check(address: u64, pages: u64, pattern: Option<u64>) -> Result<(), u64> {
    let expected = |at| pattern.map_or(0, |pattern| word(pattern, at - address));
    let differs = |at: &u64| read(*at) != expected(*at);
    addresses(address, pages).find(differs).map_or(Ok(()), Err)
}
