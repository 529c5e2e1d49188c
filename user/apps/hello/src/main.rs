//! The smallest root task that does something: copy it to begin your own.
#![no_std]
#![no_main]

use baton_runtime::sel4::Notification;
use baton_runtime::{ObjectSource, Root, Window, device, println};

baton_runtime::root_task!(main);

fn main(root: Root) -> u16 {
    let mut allocator = root.allocator();
    let mut window = Window::new(root.vspace, Window::BASE, 1 << 30);
    // From here on `println!` writes to the serial port, and the exit code reaches the host.
    if device::use_console_and_power(&root, &mut allocator, &mut window).is_err() {
        return 2;
    }
    println!(
        "Hello! {} bytes of memory are mine.",
        allocator.bytes_left()
    );
    match allocator.make::<Notification>() {
        Ok(notification) => {
            notification.signal();
            let badge = notification.wait();
            println!("A notification that I signalled has woken me, with badge {badge}.");
            0
        }
        Err(error) => {
            println!("There is no notification to be had: {error}");
            1
        }
    }
}
