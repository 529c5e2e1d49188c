//! Physical memory as the loader sees it: its own payload, the device tree, and the place below it for what it loads.

use baton_boot::fdt::{self, FdtError};
use baton_boot::payload::{self, Header, Payload, PayloadError};
use core::ptr;
use core::slice;

use crate::sbi;

unsafe extern "C" {
    /// The first byte of the loader; only its address means something.
    static __loader_start: u8;
    /// The first byte behind the loader; only its address means something.
    static __payload: u8;
}

/// What a store to the finisher means: end with the exit code in the upper half.
const FINISHER_FAIL: u32 = 0x3333;

/// The physical address of the loader: what it loads ends below.
pub fn loader_start() -> u64 {
    (&raw const __loader_start).addr() as u64
}

/// The parts that the loader carries.
pub fn payload() -> Result<Payload<'static>, PayloadError> {
    let start = &raw const __payload;
    // SAFETY: the payload begins on the page behind the loader; without one, that page is still memory (the loader is
    // not placed at its end) and any bytes are valid. Nothing writes there.
    let header = unsafe { slice::from_raw_parts(start, payload::HEADER_BYTES) };
    let header = Header::parse(header)?;
    let total = header.total().ok_or(PayloadError::Broken)?;
    // SAFETY: the image was made with that many bytes, which the firmware has loaded as a whole; nothing writes there.
    header.open(unsafe { slice::from_raw_parts(start, total) })
}

/// The device tree whose address the firmware has passed.
pub fn firmware_tree(address: u64) -> Result<&'static [u8], FdtError> {
    if address == 0 || !address.is_multiple_of(8) {
        return Err(FdtError::NoDeviceTree);
    }
    let start = ptr::with_exposed_provenance::<u8>(address as usize);
    // SAFETY: the firmware's calling convention promises a device tree there, whose header says how long it is; the
    // loader writes nothing there (`overlaps` is asked first).
    let header = unsafe { slice::from_raw_parts(start, fdt::HEADER_BYTES) };
    let size = fdt::total_size(header)?;
    // SAFETY: as above.
    Ok(unsafe { slice::from_raw_parts(start, size) })
}

/// Whether these bytes lie at least partly in that physical range.
pub fn overlaps(bytes: &[u8], start: u64, end: u64) -> bool {
    let first = bytes.as_ptr().addr() as u64;
    first < end && start < first.saturating_add(bytes.len() as u64)
}

/// Fills physical memory with zeros. What is passed must be memory below the loader.
pub fn clear(start: u64, end: u64) {
    assert!(start <= end && end <= loader_start());
    let to = ptr::with_exposed_provenance_mut::<u8>(start as usize);
    // SAFETY: memory (the caller has looked it up in the device tree) below the loader, which holds no object of this
    // program, as just checked.
    unsafe { to.write_bytes(0, (end - start) as usize) }
}

/// Copies bytes to physical memory below the loader.
pub fn copy(bytes: &[u8], address: u64) {
    let end = address.checked_add(bytes.len() as u64);
    assert!(end.is_some_and(|end| end <= loader_start()));
    let to = ptr::with_exposed_provenance_mut::<u8>(address as usize);
    // SAFETY: as in `clear`; the source is the payload or a device tree, neither of which lies in the range that is
    // written.
    unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
}

/// Ends the machine; with exit code 1 where it has a register for that.
pub fn fail(finisher: Option<u64>) -> ! {
    if let Some(register) = finisher {
        let register = ptr::with_exposed_provenance_mut::<u32>(register as usize);
        // SAFETY: the device tree says that this register is there, and a store to it ends the machine.
        unsafe { register.write_volatile(1 << 16 | FINISHER_FAIL) }
    }
    sbi::shut_down()
}
