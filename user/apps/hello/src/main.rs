//! The smallest root task that does something: copy it to begin your own.
#![no_std]
#![no_main]

use baton_runtime::sel4::Notification;
use baton_runtime::{ObjectSource, Root, Unlucky, println};

baton_runtime::root_task!(main);

fn main(root: Root) -> Result<u16, Unlucky> {
    // From here on `println!` writes to the serial port, and the exit code reaches the host. There is no heap.
    let (mut allocator, _window) = root.begin(0)?;
    println!(
        "Hello! {} bytes of memory are mine.",
        allocator.bytes_left()
    );
    match allocator.make::<Notification>() {
        Ok(notification) => {
            notification.signal();
            let badge = notification.wait();
            println!("A notification that I signalled has woken me, with badge {badge}.");
            Ok(0)
        }
        Err(error) => {
            println!("There is no notification to be had: {error}");
            Ok(1)
        }
    }
}
