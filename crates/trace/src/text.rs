//! Events for people: one line each.

use crate::Event;
use core::fmt;

/// Writes one line an event, with times in nanoseconds since the first event of the slice.
///
/// # Errors
///
/// Whatever `out` says.
pub fn write_text(events: &[(u64, Event)], out: &mut impl fmt::Write) -> fmt::Result {
    let Some((_, first)) = events.first() else {
        return Ok(());
    };
    for (sequence, event) in events {
        // A clock that went back shows as a negative time.
        let since_ns = event.time_ns.wrapping_sub(first.time_ns).cast_signed();
        writeln!(
            out,
            "{sequence:>8} {since_ns:>+12} ns  {:<12} task {:<5} connection {:<5} token {:016x} detail {}",
            event.step.name(),
            event.task,
            event.connection,
            event.token,
            event.detail,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Step;
    use alloc::string::String;

    #[test]
    fn one_line_an_event_with_relative_times() {
        let first = Event {
            time_ns: 5_000,
            step: Step::Submit,
            connection: 3,
            task: 17,
            token: 0xabc,
            detail: 9,
        };
        let second = Event {
            time_ns: 6_250,
            step: Step::DrainAnswer,
            connection: 12,
            ..first
        };
        let earlier = Event {
            time_ns: 4_999,
            ..first
        };
        let mut text = String::new();
        write_text(&[(41, first), (43, second), (44, earlier)], &mut text).unwrap();
        assert_eq!(
            text,
            "      41           +0 ns  submit       task 17    connection 3     token 0000000000000abc detail 9\n      \
             43        +1250 ns  drain_answer task 17    connection 12    token 0000000000000abc detail 9\n      \
             44           -1 ns  submit       task 17    connection 3     token 0000000000000abc detail 9\n"
        );
    }

    #[test]
    fn no_events_no_text() {
        let mut text = String::new();
        write_text(&[], &mut text).unwrap();
        assert_eq!(text, "");
    }
}
