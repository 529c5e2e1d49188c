//! What the kernel wants to know of the machine, out of its device tree.

use crate::fdt::{Fdt, FdtError, Node};

/// Memory in no more pieces than this is used; further ones are left alone.
pub const MAX_RANGES: usize = 16;
/// The number that a hart's interrupt controller gives to external interrupts for the supervisor.
const SUPERVISOR_EXTERNAL: u32 = 9;

/// Physical addresses, the end not included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Range {
    /// The first byte.
    pub start: u64,
    /// The byte behind the last.
    pub end: u64,
}

/// A short list of ranges.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ranges {
    ranges: [Range; MAX_RANGES],
    count: usize,
}

impl Ranges {
    /// Adds a range; whether there was room. An empty one is left out.
    pub fn push(&mut self, range: Range) -> bool {
        if range.start >= range.end {
            return true;
        }
        let Some(place) = self.ranges.get_mut(self.count) else {
            return false;
        };
        *place = range;
        self.count += 1;
        true
    }

    /// The ranges, in the order in which they were added.
    pub fn as_slice(&self) -> &[Range] {
        self.ranges.get(..self.count).unwrap_or_default()
    }
}

/// The interrupt controller for devices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plic {
    /// Its registers.
    pub registers: Range,
    /// The number of the context that is the supervisor of the boot hart.
    pub context: u32,
    /// The highest interrupt source.
    pub sources: u32,
}

/// The machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hardware {
    /// Memory, in the tree's order.
    pub memory: Ranges,
    /// Parts of it that the firmware keeps.
    pub reserved: Ranges,
    /// Interrupts of devices; `None` if there are none.
    pub plic: Option<Plic>,
    /// Ticks of the `time` register in a second; 0 if the tree does not say.
    pub timebase_hz: u32,
    /// A register to which a store ends the (virtual) machine with an exit code; `None` on real ones.
    pub finisher: Option<u64>,
}

impl Hardware {
    /// Reads the tree for the hart that boots.
    ///
    /// # Errors
    /// That the tree cannot be read to its end.
    pub fn read(tree: &Fdt<'_>, boot_hart: u64) -> Result<Self, FdtError> {
        let mut hardware = Self::default();
        let mut intc = None;
        let mut at_boot_hart = false;
        // Depth of `/reserved-memory`'s children while the walk is below it.
        let mut in_reserved = false;
        tree.walk(|node| {
            if node.depth == 1 {
                in_reserved = node.name == "reserved-memory";
            }
            if node.depth == 2 && in_reserved {
                add(&mut hardware.reserved, node);
            }
            if node.lists("device_type", "memory") {
                add(&mut hardware.memory, node);
            }
            if node.lists("compatible", "sifive,test0") {
                hardware.finisher = node.reg().next().map(|(start, _)| start);
            }
            if let Some(hz) = node.word("timebase-frequency") {
                hardware.timebase_hz = hz;
            }
            if node.lists("device_type", "cpu") {
                at_boot_hart = node.words("reg").last().map(u64::from) == Some(boot_hart);
            }
            if at_boot_hart && node.lists("compatible", "riscv,cpu-intc") {
                intc = node.word("phandle");
            }
        })?;
        let Some(intc) = intc else {
            return Ok(hardware);
        };
        tree.walk(|node| {
            if node.lists("compatible", "riscv,plic0") {
                hardware.plic = plic(node, intc).or(hardware.plic);
            }
        })?;
        Ok(hardware)
    }
}

fn add(ranges: &mut Ranges, node: &Node<'_>) {
    for (start, size) in node.reg() {
        let end = start.saturating_add(size);
        // Memory that finds no room is not used, which harms nobody; a firmware with that many reserved pieces
        // does not exist.
        ranges.push(Range { start, end });
    }
}

/// The controller as seen by the hart whose own controller has that phandle.
fn plic(node: &Node<'_>, intc: u32) -> Option<Plic> {
    let (start, size) = node.reg().next()?;
    let mut words = node.words("interrupts-extended");
    let mut context = 0;
    loop {
        let (phandle, number) = (words.next()?, words.next()?);
        if phandle == intc && number == SUPERVISOR_EXTERNAL {
            break;
        }
        context += 1;
    }
    Some(Plic {
        registers: Range {
            start,
            end: start.saturating_add(size),
        },
        context,
        sources: node.word("riscv,ndev")?,
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::fdt_writer::Writer;
    use std::vec::Vec;

    fn machine() -> Vec<u8> {
        let mut tree = Writer::default();
        tree.node("", |root| {
            root.words("#address-cells", &[2]);
            root.words("#size-cells", &[2]);
            root.node("reserved-memory", |reserved| {
                reserved.words("#address-cells", &[2]);
                reserved.words("#size-cells", &[2]);
                reserved.node("firmware@80000000", |node| {
                    node.words("reg", &[0, 0x8000_0000, 0, 0x8_0000]);
                });
            });
            root.node("memory@80000000", |node| {
                node.property("device_type", b"memory\0");
                node.words("reg", &[0, 0x8000_0000, 0, 0x4000_0000, 1, 0, 0, 0x1000]);
            });
            root.node("cpus", |cpus| {
                cpus.words("#address-cells", &[1]);
                cpus.words("#size-cells", &[0]);
                cpus.words("timebase-frequency", &[10_000_000]);
                for hart in 0..2 {
                    cpus.node("cpu", |cpu| {
                        cpu.property("device_type", b"cpu\0");
                        cpu.words("reg", &[hart]);
                        cpu.node("interrupt-controller", |intc| {
                            intc.property("compatible", b"riscv,cpu-intc\0");
                            intc.words("phandle", &[10 + hart]);
                        });
                    });
                }
            });
            root.node("soc", |soc| {
                soc.words("#address-cells", &[2]);
                soc.words("#size-cells", &[2]);
                soc.node("test@100000", |test| {
                    test.property("compatible", b"sifive,test1\0sifive,test0\0syscon\0");
                    test.words("reg", &[0, 0x10_0000, 0, 0x1000]);
                });
                soc.node("plic@c000000", |plic| {
                    plic.property("compatible", b"sifive,plic-1.0.0\0riscv,plic0\0");
                    plic.words("reg", &[0, 0xc00_0000, 0, 0x60_0000]);
                    plic.words("riscv,ndev", &[95]);
                    plic.words("interrupts-extended", &[10, 11, 10, 9, 11, 11, 11, 9]);
                });
            });
        });
        tree.finish()
    }

    #[test]
    fn machine_is_read_for_the_hart_that_boots() {
        let bytes = machine();
        let tree = Fdt::new(&bytes).expect("a tree");
        for (hart, context) in [(0, 1), (1, 3)] {
            let hardware = Hardware::read(&tree, hart).expect("whole");
            let memory: Vec<_> = hardware.memory.as_slice().to_vec();
            assert_eq!(
                memory[0],
                Range {
                    start: 0x8000_0000,
                    end: 0xc000_0000
                }
            );
            assert_eq!(
                memory[1],
                Range {
                    start: 1 << 32,
                    end: (1 << 32) + 0x1000
                }
            );
            assert_eq!(
                hardware.reserved.as_slice(),
                [Range {
                    start: 0x8000_0000,
                    end: 0x8008_0000
                }]
            );
            let plic = hardware.plic.expect("there is one");
            assert_eq!((plic.context, plic.sources), (context, 95));
            assert_eq!(plic.registers.start, 0xc00_0000);
            assert_eq!(hardware.timebase_hz, 10_000_000);
            assert_eq!(hardware.finisher, Some(0x10_0000));
        }
        assert_eq!(Hardware::read(&tree, 7).expect("whole").plic, None);
    }

    #[test]
    fn broken_trees_are_refused_without_a_panic() {
        let bytes = machine();
        for at in 0..bytes.len() {
            for byte in [0, 1, 3, 9, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = byte;
                if let Ok(tree) = Fdt::new(&bytes) {
                    let _ = Hardware::read(&tree, 0);
                }
            }
            assert!(Fdt::new(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn ranges_take_no_more_than_they_have_room_for() {
        let mut ranges = Ranges::default();
        assert!(ranges.push(Range { start: 5, end: 5 }));
        assert!(ranges.as_slice().is_empty());
        for start in 0..MAX_RANGES as u64 {
            assert!(ranges.push(Range {
                start,
                end: start + 1
            }));
        }
        assert!(!ranges.push(Range { start: 1, end: 2 }));
        assert_eq!(ranges.as_slice().len(), MAX_RANGES);
    }
}
