//! What a descriptor that was passed on can and cannot be used for, and which descriptors are refused.

use baton_linux::memory::{MapError, OwnRegion, SharedPage, map_peer};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::sync::atomic::Ordering;

const WORDS: usize = 1000;

fn memfd(flags: MemfdFlags, size_bytes: u64, seals: SealFlags) -> OwnedFd {
    let fd = rustix::fs::memfd_create("test", flags | MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&fd, size_bytes).unwrap();
    if !seals.is_empty() {
        rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    }
    fd
}

fn all_seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL
}

fn map(fd: &OwnedFd, protection: ProtFlags) -> Result<*mut core::ffi::c_void, Errno> {
    // SAFETY: a fresh mapping at an address of the kernel's choice, which the tests never dereference.
    unsafe {
        rustix::mm::mmap(
            core::ptr::null_mut(),
            4096,
            protection,
            MapFlags::SHARED,
            fd,
            0,
        )
    }
}

#[test]
fn the_writers_words_reach_the_reader() {
    let (own, fd) = OwnRegion::create("test", WORDS).unwrap();
    let peer = map_peer(fd.as_fd(), WORDS).unwrap();
    assert_eq!(peer.words(), WORDS);
    for offset in [0, 511, 512, WORDS - 1] {
        own.word(offset)
            .unwrap()
            .store(offset as u64 + 7, Ordering::Relaxed);
        let read = peer.word(offset).unwrap().load(Ordering::Relaxed);
        assert_eq!(read, offset as u64 + 7);
    }
    assert!(peer.word(WORDS).is_err());
}

#[test]
fn a_region_cannot_be_mapped_writable_by_whom_it_was_passed_to() {
    let (_own, fd) = OwnRegion::create("test", WORDS).unwrap();
    assert_eq!(
        map(&fd, ProtFlags::READ | ProtFlags::WRITE),
        Err(Errno::PERM)
    );
    assert_eq!(map(&fd, ProtFlags::WRITE), Err(Errno::PERM));
    let readable = map(&fd, ProtFlags::READ).unwrap();
    // SAFETY: the page was mapped just above; nothing else knows of it.
    let made_writable =
        unsafe { rustix::mm::mprotect(readable, 4096, MprotectFlags::READ | MprotectFlags::WRITE) };
    assert_eq!(made_writable, Err(Errno::ACCESS));
    // SAFETY: as above; it is not used afterwards.
    unsafe { rustix::mm::munmap(readable, 4096) }.unwrap();
}

#[test]
fn a_region_cannot_be_written_or_punched_through_its_descriptor() {
    let (_own, fd) = OwnRegion::create("test", WORDS).unwrap();
    assert_eq!(rustix::io::write(&fd, b"x"), Err(Errno::PERM));
    let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    assert_eq!(rustix::fs::fallocate(&fd, punch, 0, 4096), Err(Errno::PERM));
}

#[test]
fn nothing_that_was_passed_can_be_resized_or_sealed_further() {
    let (_region, region) = OwnRegion::create("test", WORDS).unwrap();
    let (_page, page) = SharedPage::create("test", 2).unwrap();
    for fd in [region, page] {
        assert_eq!(rustix::fs::ftruncate(&fd, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&fd, 1 << 20), Err(Errno::PERM));
        assert_eq!(
            rustix::fs::fcntl_add_seals(&fd, SealFlags::WRITE),
            Err(Errno::PERM)
        );
    }
}

#[test]
fn a_shared_page_is_written_by_both() {
    let (own, fd) = SharedPage::create("test", 2).unwrap();
    let peer = SharedPage::map(fd.as_fd(), 2).unwrap();
    peer.word(1).unwrap().fetch_or(4, Ordering::Relaxed);
    assert_eq!(own.word(1).unwrap().load(Ordering::Relaxed), 4);
}

#[test]
fn descriptors_that_are_no_memfd_are_refused() {
    let (read_end, _write_end) = rustix::pipe::pipe().unwrap();
    let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    for fd in [read_end, eventfd, OwnedFd::from(file)] {
        let refused = map_peer(fd.as_fd(), 512).unwrap_err();
        assert_eq!(refused, MapError::NotMemfd(Errno::INVAL));
    }
}

#[test]
fn each_missing_seal_is_noticed() {
    for missing in [
        SealFlags::SHRINK,
        SealFlags::GROW,
        SealFlags::FUTURE_WRITE,
        SealFlags::SEAL,
    ] {
        let fd = memfd(
            MemfdFlags::ALLOW_SEALING,
            4096,
            all_seals().difference(missing),
        );
        let refused = map_peer(fd.as_fd(), 512).unwrap_err();
        assert_eq!(
            refused,
            MapError::NotSealed {
                missing: missing.bits()
            }
        );
        if missing != SealFlags::FUTURE_WRITE {
            assert!(SharedPage::map(fd.as_fd(), 512).is_err());
        }
    }
    // A memfd without sealing allowed has the seal against further seals only.
    let fd = memfd(MemfdFlags::empty(), 4096, SealFlags::empty());
    assert!(matches!(
        map_peer(fd.as_fd(), 512),
        Err(MapError::NotSealed { .. })
    ));
}

#[test]
fn every_other_size_is_refused() {
    for size_bytes in [0, 1, 4095, 4097, 8192] {
        let fd = memfd(MemfdFlags::ALLOW_SEALING, size_bytes, all_seals());
        assert_eq!(
            map_peer(fd.as_fd(), 512).unwrap_err(),
            MapError::WrongSize {
                expected_bytes: 4096,
                actual_bytes: size_bytes
            }
        );
    }
    let fd = memfd(MemfdFlags::ALLOW_SEALING, 4096, all_seals());
    assert!(map_peer(fd.as_fd(), 512).is_ok());
    assert!(matches!(
        map_peer(fd.as_fd(), usize::MAX),
        Err(MapError::WrongSize { .. })
    ));
}

#[test]
fn memory_of_huge_pages_is_refused() {
    // Where the kernel has no huge pages to make such a descriptor of, a peer cannot pass one either.
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB | MemfdFlags::CLOEXEC;
    if let Ok(fd) = rustix::fs::memfd_create("test", flags) {
        rustix::fs::fcntl_add_seals(&fd, all_seals()).unwrap();
        assert!(matches!(
            map_peer(fd.as_fd(), 512),
            Err(MapError::NotPlainMemory { .. })
        ));
    }
}

#[test]
fn a_mapping_goes_with_its_last_handle() {
    let mapped = || {
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .matches("memfd:baton-test-unmap")
            .count()
    };
    let (own, fd) = OwnRegion::create("baton-test-unmap", WORDS).unwrap();
    let word = own.word(3).unwrap();
    drop((own, fd));
    assert_eq!(mapped(), 1, "a handle still points there");
    drop(word);
    assert_eq!(mapped(), 0);
}
