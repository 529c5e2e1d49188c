//! The exact text of Chrome traces, and of joined ones.
#![cfg(not(loom))]

use baton_trace::{
    Event, JoinError, Names, NumberedNames, Requester, Step, join_chrome_json, write_chrome_json,
};
use std::fmt;

fn event(time_ns: u64, step: Step, task: u16, connection: u16) -> Event {
    Event {
        time_ns,
        step,
        connection,
        task,
        token: 0xab,
        detail: 6,
    }
}

fn json(events: &[(u64, Event)], pid: u32, names: &impl Names) -> String {
    let mut text = String::new();
    write_chrome_json(events, pid, names, &mut text).unwrap();
    text
}

#[test]
fn a_client_shows_its_task_and_the_lane_of_answers() {
    let events = [
        (0, event(1_000, Step::Submit, 2, 0)),
        (1, event(3_500, Step::DrainAnswer, 2, 0)),
    ];
    let expected = r#"[
{"name":"process_name","ph":"M","pid":10,"args":{"name":"client"}},
{"name":"thread_name","ph":"M","pid":10,"tid":100002,"args":{"name":"task 2"}},
{"name":"thread_name","ph":"M","pid":10,"tid":200001,"args":{"name":"connection 0: answers"}},
{"name":"submit","cat":"baton","ph":"X","ts":1.000,"dur":0.001,"pid":10,"tid":100002,"args":{"sequence":0,"task":2,"connection":0,"token":"00000000000000ab","detail":6}},
{"name":"request","cat":"baton","ph":"s","id":"0x00000000000000ab","ts":1.000,"pid":10,"tid":100002},
{"name":"drain_answer","cat":"baton","ph":"X","ts":3.500,"dur":0.001,"pid":10,"tid":200001,"args":{"sequence":1,"task":2,"connection":0,"token":"00000000000000ab","detail":6}},
{"name":"request","cat":"baton","ph":"f","bp":"e","id":"0x00000000000000ab","ts":3.500,"pid":10,"tid":200001}
]
"#;
    assert_eq!(json(&events, 10, &NumberedNames("client")), expected);
}

#[test]
fn a_handler_lasts_until_its_reply_and_sleep_until_it_ends() {
    let events = [
        (0, event(2_000, Step::Serve, 4, 0)),
        (1, event(2_100, Step::Sleep, 0, 0)),
        (2, event(2_200, Step::Woken, 0, 0)),
        (3, event(2_750, Step::Reply, 4, 0)),
        (4, event(2_800, Step::Sleep, 0, 0)),
    ];
    let text = json(&events, 11, &NumberedNames("server"));
    let slices: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(r#""ph":"X""#))
        .map(|line| line.split(r#","pid""#).next().unwrap())
        .collect();
    assert_eq!(
        slices,
        [
            r#"{"name":"serve","cat":"baton","ph":"X","ts":2.000,"dur":0.750"#,
            r#"{"name":"sleep","cat":"baton","ph":"X","ts":2.100,"dur":0.100"#,
            r#"{"name":"woken","cat":"baton","ph":"X","ts":2.200,"dur":0.001"#,
            r#"{"name":"reply","cat":"baton","ph":"X","ts":2.750,"dur":0.001"#,
            r#"{"name":"sleep","cat":"baton","ph":"X","ts":2.800,"dur":0.001"#,
        ]
    );
}

/// One end of a connection that the two processes number differently.
struct End {
    server: bool,
}

impl Names for End {
    fn process(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("the \"best\"\\\n")
    }

    fn flow(&self, _: u16, requester: Requester) -> u64 {
        // The client's requests are 70, the server's own to the client 71.
        70 + u64::from((requester == Requester::ThisProcess) == self.server)
    }
}

#[test]
fn one_request_keeps_its_arrow_between_two_processes() {
    let client = [
        (0, event(1, Step::Submit, 0, 3)),
        (1, event(4, Step::DrainAnswer, 0, 3)),
    ];
    let server = [
        (0, event(2, Step::Drain, 0, 9)),
        (1, event(3, Step::Reply, 7, 9)),
        // The server asks the client with the same token: another arrow.
        (2, event(5, Step::Submit, 7, 9)),
    ];
    let mut text = String::new();
    join_chrome_json(
        &[
            &json(&client, 1, &End { server: false }),
            &json(&server, 2, &End { server: true }),
        ],
        &mut text,
    )
    .unwrap();
    let ids: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(r#""id":""#).nth(1))
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(ids.len(), 5);
    assert!(ids[..4].iter().all(|id| *id == ids[0]));
    assert_ne!(ids[4], ids[0]);
    assert!(text.contains(r#"{"name":"the \"best\"\\\u000a"}"#));
    // One array: brackets around it, a comma after each line but the last.
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("[", "]"));
    let (last, others) = lines[1..lines.len() - 1].split_last().unwrap();
    assert!(last.ends_with('}'));
    assert!(others.iter().all(|line| line.ends_with("},")));
}

#[test]
fn only_arrays_are_joined() {
    let mut text = String::new();
    assert_eq!(
        join_chrome_json(&["[]", "{}"], &mut text),
        Err(JoinError::NotAnArray(1))
    );
    text.clear();
    assert_eq!(
        join_chrome_json(&["[]", "[1]\n", "[ ]", "[2]"], &mut text),
        Ok(())
    );
    assert_eq!(text, "[\n1,\n2\n]\n");
}
