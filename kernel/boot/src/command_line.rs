//! The command line: words that whoever starts the machine leaves in the device tree, for the loader and the root task.
//!
//! Source: Devicetree Specification 0.4, chapter 3.6 (`/chosen`, `bootargs`).

use crate::fdt::Fdt;

/// What the word begins with in which the loader writes how many instructions have been retired when it enters the kernel. Behind it
/// stand [`COUNT_DIGITS`] zeros, which the loader replaces.
pub const COUNT_KEY: &str = "kernel-entered-at=";

/// Hexadecimal digits of that number.
pub const COUNT_DIGITS: usize = 16;

/// The command line; `None` if the tree has none.
pub fn command_line<'a>(tree: &Fdt<'a>) -> Option<&'a str> {
    let mut line = None;
    // What cannot be read of the tree has no command line in it.
    let _ = tree.walk(|node| {
        if node.depth == 1 && node.name == "chosen" {
            line = node.property("bootargs");
        }
    });
    let line = line?.split(|&byte| byte == 0).next()?;
    core::str::from_utf8(line).ok()
}

/// Where in the command line the digits are that the loader is to replace; `None` if it is not to.
pub fn count_place(line: &str) -> Option<usize> {
    let (before, digits) = line.split_once(COUNT_KEY)?;
    let starts_a_word = before.is_empty() || before.ends_with(' ');
    let digits = digits.split(' ').next()?.as_bytes();
    let is_place = digits.len() == COUNT_DIGITS && digits.iter().all(|&digit| digit == b'0');
    (starts_a_word && is_place).then_some(before.len() + COUNT_KEY.len())
}

/// The digits for that place.
pub fn count_digits(count: u64) -> [u8; COUNT_DIGITS] {
    core::array::from_fn(|index| {
        let nibble = (count >> ((COUNT_DIGITS - 1 - index) * 4)) as u8 & 0xf;
        match nibble {
            0..10 => b'0' + nibble,
            _ => b'a' + nibble - 10,
        }
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::fdt_writer::Writer;
    use std::format;

    #[test]
    fn line_is_read_from_the_tree() {
        let tree = |property: &str, value: &[u8]| {
            let mut tree = Writer::default();
            tree.node("", |root| {
                root.node("chosen", |chosen| chosen.property(property, value));
                root.node("soc", |soc| {
                    soc.node("chosen", |other| other.property("bootargs", b"wrong\0"));
                });
            });
            tree.finish()
        };
        for (property, value, expected) in [
            ("bootargs", &b"a=1 b\0"[..], Some("a=1 b")),
            ("bootargs", b"\0", Some("")),
            ("bootargs", b"\xff\0", None),
            ("stdout-path", b"/soc\0", None),
        ] {
            let bytes = tree(property, value);
            let tree = Fdt::new(&bytes).expect("a tree");
            assert_eq!(command_line(&tree), expected);
        }
    }

    #[test]
    fn place_is_found_only_where_it_is_meant() {
        let zeros = "0".repeat(COUNT_DIGITS);
        assert_eq!(count_place(&format!("{COUNT_KEY}{zeros}")), Some(18));
        assert_eq!(count_place(&format!("a=1 {COUNT_KEY}{zeros} b")), Some(22));
        for line in [
            "",
            "kernel-entered-at=",
            &format!("{COUNT_KEY}{zeros}0"),
            &format!("not-{COUNT_KEY}{zeros}"),
            &format!("{COUNT_KEY}1{}", &zeros[1..]),
        ] {
            assert_eq!(count_place(line), None, "{line}");
        }
    }

    #[test]
    fn digits_are_hexadecimal() {
        assert_eq!(&count_digits(0x12_abcd_ef09), b"00000012abcdef09");
        assert_eq!(&count_digits(u64::MAX), b"ffffffffffffffff");
    }
}
