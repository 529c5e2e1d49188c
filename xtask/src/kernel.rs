//! Building kernels, the loader, and bootable images of a kernel with a root task.

use std::fs;
use std::path::{Path, PathBuf};

use baton_boot::elf::Elf;
use baton_boot::payload::Header;

use crate::bare::Bare;
use crate::error::Error;
use crate::process::{Workspace, run};

/// The workspace of kernel and loader.
const KERNEL_DIR: &str = "kernel";
const PAGE: u64 = 4096;

/// Which kernel is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// The kernel as one would use it.
    Release,
    /// With debug calls, its own checks, and messages on the console.
    Debug,
    /// As `Release`, without the fast path: what every other way through the kernel costs.
    SlowOnly,
    /// As `Release`, but it counts its entries: for figures of those alone.
    CountTraps,
    /// Debug, with four scheduling domains and a schedule for them.
    DebugDomains,
}

impl Flavour {
    /// The name of the ELF file in `target/riscv64`.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Release => "kernel.elf",
            Self::SlowOnly => "kernel-slow-only.elf",
            Self::CountTraps => "kernel-count-traps.elf",
            Self::Debug => "kernel-debug.elf",
            Self::DebugDomains => "kernel-debug-domains.elf",
        }
    }

    const fn profile(self) -> &'static str {
        match self {
            Self::Release | Self::SlowOnly | Self::CountTraps => "release",
            Self::Debug | Self::DebugDomains => "debug-kernel",
        }
    }

    const fn features(self) -> &'static str {
        match self {
            Self::Release => "",
            Self::SlowOnly => "slow-only",
            Self::CountTraps => "count-traps",
            Self::Debug => "debug",
            Self::DebugDomains => "debug,domains",
        }
    }
}

/// Where everything for the machine is put.
pub fn output_dir(workspace: &Workspace) -> PathBuf {
    workspace.target.join("riscv64")
}

/// Builds a kernel and returns its ELF file.
///
/// # Errors
/// That it does not build.
pub fn build_kernel(
    workspace: &Workspace,
    bare: &Bare,
    flavour: Flavour,
) -> Result<PathBuf, Error> {
    let args = [
        "--package",
        "baton-riscv64",
        "--profile",
        flavour.profile(),
        "--features",
        flavour.features(),
    ];
    run(&mut bare.cargo(workspace, Path::new(KERNEL_DIR), "build", args))?;
    keep(
        workspace,
        &bare.products(flavour.profile()).join("kernel"),
        flavour.file(),
    )
}

/// Builds the loader and returns its ELF file.
///
/// # Errors
/// That it does not build.
pub fn build_loader(workspace: &Workspace, bare: &Bare) -> Result<PathBuf, Error> {
    let args = ["--package", "baton-loader", "--release"];
    run(&mut bare.cargo(workspace, Path::new(KERNEL_DIR), "build", args))?;
    keep(
        workspace,
        &bare.products("release").join("loader"),
        "loader.elf",
    )
}

/// Copies a product to where it is promised to be.
///
/// # Errors
/// That it cannot be copied.
pub fn keep(workspace: &Workspace, product: &Path, name: &str) -> Result<PathBuf, Error> {
    let dir = output_dir(workspace);
    fs::create_dir_all(&dir).map_err(Error::file("make", &dir))?;
    let to = dir.join(name);
    fs::copy(product, &to).map_err(Error::file("copy", product))?;
    Ok(to)
}

/// The files that an image is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The loader's ELF file.
    pub loader: &'a Path,
    /// The kernel's.
    pub kernel: &'a Path,
    /// The root task's.
    pub root_task: &'a Path,
    /// A device tree in place of the firmware's.
    pub device_tree: Option<&'a Path>,
}

/// Writes an image that the firmware can start: the loader with everything else in one more segment.
///
/// # Errors
/// That a file cannot be read, is no program for the machine, or that the image cannot be written.
pub fn write_image(parts: &Parts<'_>, image: &Path) -> Result<(), Error> {
    let read = |path: &Path| fs::read(path).map_err(Error::file("read", path));
    let loader = read(parts.loader)?;
    let kernel = read(parts.kernel)?;
    let root_task = read(parts.root_task)?;
    let device_tree = parts.device_tree.map(read).transpose()?.unwrap_or_default();
    for (path, bytes) in [(parts.kernel, &kernel), (parts.root_task, &root_task)] {
        parse(path, bytes)?;
    }
    let elf = parse(parts.loader, &loader)?;
    let bytes = image_bytes(&elf, &payload_bytes(&kernel, &root_task, &device_tree));
    if let Some(dir) = image.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(Error::file("make", dir))?;
    }
    fs::write(image, bytes).map_err(Error::file("write", image))
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Elf<'a>, Error> {
    Elf::parse(bytes).map_err(|error| {
        Error::Check(format!(
            "{} cannot be loaded on RISC-V 64: {error:?}",
            path.display()
        ))
    })
}

fn payload_bytes(kernel: &[u8], root_task: &[u8], device_tree: &[u8]) -> Vec<u8> {
    let parts = [kernel, root_task, device_tree];
    let (header, total) = Header::plan(kernel.len(), root_task.len(), device_tree.len());
    let mut payload = header.to_bytes().to_vec();
    for (part, offset) in parts.into_iter().zip(header.offsets()) {
        payload.resize(offset as usize, 0);
        payload.extend_from_slice(part);
    }
    debug_assert_eq!(payload.len(), total);
    payload
}

/// The loader's segments and the payload as an ELF file.
fn image_bytes(loader: &Elf<'_>, payload: &[u8]) -> Vec<u8> {
    const HEADER: u64 = 64;
    const PROGRAM_HEADER: u64 = 56;
    /// Readable, writable and executable: the firmware does not look.
    const ALL: u32 = 7;

    let (_, loader_end) = loader.virtual_range();
    let payload_at = loader_end.next_multiple_of(PAGE);
    let mut rows: Vec<(u64, &[u8], u64)> = loader
        .segments()
        .map(|segment| (segment.vaddr, segment.data, segment.memory_size))
        .collect();
    rows.push((payload_at, payload, payload.len() as u64));

    let mut image = Vec::new();
    image.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // An executable for RISC-V, version 1.
    for half in [2_u16, 243, 1, 0] {
        image.extend(half.to_le_bytes());
    }
    for word in [loader.entry(), HEADER, 0] {
        image.extend(word.to_le_bytes());
    }
    image.extend(0_u32.to_le_bytes());
    for half in [
        HEADER as u16,
        PROGRAM_HEADER as u16,
        rows.len() as u16,
        0,
        0,
        0,
    ] {
        image.extend(half.to_le_bytes());
    }
    let mut offset = (HEADER + PROGRAM_HEADER * rows.len() as u64).next_multiple_of(PAGE);
    for &(address, data, memory_size) in &rows {
        image.extend(1_u32.to_le_bytes());
        image.extend(ALL.to_le_bytes());
        for word in [
            offset,
            address,
            address,
            data.len() as u64,
            memory_size,
            PAGE,
        ] {
            image.extend(word.to_le_bytes());
        }
        offset = (offset + data.len() as u64).next_multiple_of(PAGE);
    }
    for (_, data, _) in rows {
        image.resize(image.len().next_multiple_of(PAGE as usize), 0);
        image.extend_from_slice(data);
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_follows_the_loader_on_its_first_free_page() {
        let payload = payload_bytes(b"kernel", b"root task", b"");
        // An image is a loader, too: make one of nothing but an old payload, then one around that.
        let first = image_bytes(&minimal(), &[1; 10]);
        let loader = Elf::parse(&first).expect("an ELF file");
        let (_, end) = loader.virtual_range();
        let image = image_bytes(&loader, &payload);
        let elf = Elf::parse(&image).expect("an ELF file");
        let last = elf.segments().last().expect("the payload");
        assert_eq!(last.vaddr, end.next_multiple_of(PAGE));
        assert_eq!(last.data, payload);
        assert_eq!(elf.entry(), loader.entry());
        let header = Header::parse(last.data).expect("a header");
        let parts = header.open(last.data).expect("whole");
        assert_eq!(
            (parts.kernel, parts.root_task),
            (&b"kernel"[..], &b"root task"[..])
        );
    }

    /// The smallest loader there is: one byte at 0x1000.
    fn minimal() -> Elf<'static> {
        let mut bytes = vec![0; 121];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[16] = 2;
        bytes[18] = 243;
        bytes[24..32].copy_from_slice(&0x1000_u64.to_le_bytes());
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = 1;
        for (at, word) in [(72, 120_u64), (80, 0x1000), (88, 0x1000), (96, 1), (104, 1)] {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        Elf::parse(bytes.leak()).expect("a good file")
    }
}
