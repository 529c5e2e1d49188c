//! Requests are found, arrows lead along them, and nothing is left out.

mod rules;

use baton_timeline::{JoinError, Point, Recording, Request, Timeline};
use rules::check;

fn timeline(text: &str) -> Timeline {
    Timeline::new(Recording::read(text).unwrap()).unwrap()
}

fn json(timeline: &Timeline) -> String {
    let mut text = String::new();
    timeline.write_chrome(&mut text).unwrap();
    text
}

/// A process whose only connection, with this number, leads there.
fn process(number: u32, name: &str, connection: &str, events: &str) -> String {
    let mut text = format!("@trace begins,{number},ns,{name}\n");
    text += &format!("@trace connection,{number},{connection}\n");
    let mut count = 0;
    for event in events.split_whitespace() {
        text += &format!("@trace event,{number},{count},{event}\n");
        count += 1;
    }
    text + &format!("@trace ends,{number},{count}\n")
}

/// Client 1 asks server 2, which sleeps; the client sleeps for the answer.
fn all_eight() -> String {
    let client = process(
        1,
        "client",
        "3,2,9,server",
        "1000,call,3,17,ab,6 1040,submit,3,17,ab,6 1100,ring,3,65535,0,0 1200,sleep,65535,65535,0,0 \
         9000,woken,65535,65535,0,0 9050,drain_answer,3,17,ab,0 9060,resume,3,17,ab,0",
    );
    let server = process(
        2,
        "server",
        "9,1,3,client",
        "5000,woken,65535,65535,0,0 5100,drain,9,4,ab,6 5120,serve,9,4,ab,6 5500,reply,9,4,ab,0 5600,ring,9,65535,0,0",
    );
    client + &server
}

const WAY: [(&str, &str); 9] = [
    ("call", "client"),
    ("submit", "client"),
    ("ring", "client"),
    ("drain", "server"),
    ("serve", "server"),
    ("reply", "server"),
    ("ring", "server"),
    ("drain_answer", "client"),
    ("resume", "client"),
];

#[test]
fn one_request_is_followed_through_the_eight_steps() {
    let timeline = timeline(&all_eight());
    assert_eq!(timeline.requests().len(), 1);
    assert!(timeline.requests()[0].is_complete());
    let trace = check(&json(&timeline));
    assert_eq!(trace.flows.len(), 1);
    assert_eq!(trace.way(1), WAY);
    // The handler lasts until its reply, sleep until it ends, all else until what comes next.
    let lasts = |name: &str| {
        let slice = trace.slices.iter().find(|slice| slice.name == name);
        slice.map(|slice| slice.end - slice.start)
    };
    assert_eq!(lasts("serve"), Some(380));
    assert_eq!(lasts("sleep"), Some(7800));
    assert_eq!(lasts("call"), Some(40));
    assert_eq!(lasts("resume"), Some(1));
}

#[test]
fn the_file_of_a_small_trace_is_this() {
    let text = process(
        7,
        "the \"best\"",
        "0,8,0,x",
        "500,submit,0,2,ab,6 4500,wake,0,2,0,0",
    );
    let expected = r#"{"displayTimeUnit":"ns","otherData":{"clock":"nanoseconds"},"traceEvents":[
{"name":"process_name","ph":"M","pid":7,"args":{"name":"the \"best\""}},
{"name":"thread_name","ph":"M","pid":7,"tid":100002,"args":{"name":"task 2"}},
{"name":"submit","cat":"baton","ph":"X","ts":0.000,"dur":1.000,"pid":7,"tid":100002,"args":{"sequence":0,"task":2,"connection":0,"token":"00000000000000ab","detail":6,"request":1,"missing":"call, drain, serve, reply, drain_answer, resume"}},
{"name":"wake","cat":"baton","ph":"X","ts":4.000,"dur":0.001,"pid":7,"tid":100002,"args":{"sequence":1,"task":2,"connection":0,"token":"0000000000000000","detail":0}}
]}
"#;
    assert_eq!(json(&timeline(&text)), expected);
}

#[test]
fn a_flow_in_the_file_is_this() {
    let text = process(
        7,
        "client",
        "0,8,0,x",
        "500,submit,0,2,ab,6 700,drain_answer,0,2,ab,0",
    );
    let file = json(&timeline(&text));
    let flows: Vec<&str> = file
        .lines()
        .filter(|line| line.contains("\"cat\":\"request\""))
        .collect();
    assert_eq!(
        flows,
        [
            r#"{"name":"request","cat":"request","ph":"s","id":1,"ts":0.000,"pid":7,"tid":100002},"#,
            r#"{"name":"request","cat":"request","ph":"f","bp":"e","id":1,"ts":0.200,"pid":7,"tid":200001}"#,
        ]
    );
}

#[test]
fn what_has_no_other_half_is_kept_and_marked() {
    let (client, _) = all_eight().split_once("@trace begins,2").map_or_else(
        || unreachable!(),
        |(client, rest)| (client.to_owned(), rest.to_owned()),
    );
    let trace = check(&json(&timeline(&client)));
    assert_eq!(trace.slices.len(), 7);
    // What there is of it is still joined; nobody can say what the ring was for.
    assert_eq!(
        trace.way(1),
        [
            ("call", "client"),
            ("submit", "client"),
            ("drain_answer", "client"),
            ("resume", "client")
        ]
    );
    for slice in &trace.slices {
        let missing = slice.args.get("missing").and_then(|m| m.as_str());
        let of_request = !matches!(slice.name.as_str(), "ring" | "sleep" | "woken");
        assert_eq!(missing, of_request.then_some("drain, serve, reply"));
    }
}

#[test]
fn requests_of_different_connections_do_not_mix() {
    // The same token on two connections of the same two processes, and of a server that names another client.
    let client = "@trace begins,1,ns,client\n@trace connection,1,0,2,5,a\n@trace connection,1,1,2,6,b\n\
        @trace event,1,0,10,submit,0,1,ab,0\n@trace event,1,1,20,submit,1,2,ab,0\n@trace ends,1,2\n";
    let server = "@trace begins,2,ns,server\n@trace connection,2,5,1,0,a\n@trace connection,2,6,1,1,b\n\
        @trace connection,2,7,3,0,c\n@trace event,2,0,30,drain,6,1,ab,0\n@trace event,2,1,40,drain,5,2,ab,0\n\
        @trace event,2,2,50,drain,7,3,ab,0\n@trace ends,2,3\n";
    let timeline = timeline(&format!("{client}{server}"));
    let times: Vec<Vec<u64>> = timeline
        .requests()
        .iter()
        .map(|request| {
            request
                .points()
                .map(|(_, place)| timeline.time(place))
                .collect()
        })
        .collect();
    assert_eq!(times, [vec![0, 30], vec![10, 20], vec![40]]);
    let trace = check(&json(&timeline));
    assert_eq!(trace.flows.len(), 2);
}

#[test]
fn both_sides_may_ask_with_the_same_token() {
    let one = process(
        1,
        "one",
        "0,2,0,two",
        "10,submit,0,1,ab,0 40,drain,0,2,ab,0",
    );
    let two = process(
        2,
        "two",
        "0,1,0,one",
        "20,drain,0,3,ab,0 30,submit,0,4,ab,0",
    );
    let timeline = timeline(&(one + &two));
    assert_eq!(timeline.requests().len(), 2);
    let trace = check(&json(&timeline));
    assert_eq!(trace.way(1), [("submit", "one"), ("drain", "two")]);
    assert_eq!(trace.way(2), [("submit", "two"), ("drain", "one")]);
}

#[test]
fn a_number_that_was_given_out_again_is_another_connection() {
    let client = process(
        1,
        "client",
        "0,2,0,server",
        "10,submit,0,1,ab,0 20,unbound,0,65535,0,0 30,bound,0,65535,0,0 40,submit,0,1,ab,0",
    );
    let server = process(2, "server", "0,1,0,client", "50,drain,0,3,ab,0");
    let timeline = timeline(&(client + &server));
    assert_eq!(timeline.requests().len(), 2);
    let trace = check(&json(&timeline));
    assert_eq!(trace.flows.len(), 1);
    assert_eq!(trace.slices[trace.flows[&2][0]].start, 30);
    // A connection that has ended, and whose number nobody got, is still the one that is named.
    let client = process(
        1,
        "client",
        "0,2,0,server",
        "10,submit,0,1,ab,0 20,unbound,0,65535,0,0",
    );
    let server = process(2, "server", "0,1,0,client", "15,drain,0,3,ab,0");
    assert_eq!(
        check(&json(&self::timeline(&(client + &server))))
            .flows
            .len(),
        1
    );
}

#[test]
fn what_cannot_be_is_marked_and_gets_no_arrows() {
    let doubtful = |text: &str| {
        let timeline = timeline(text);
        assert!(!timeline.requests()[0].is_certain());
        let trace = check(&json(&timeline));
        assert!(trace.flows.is_empty());
        let marked = |slice: &rules::Slice| slice.args["doubtful"] == true;
        assert!(trace.slices.iter().any(marked));
    };
    let server = process(2, "server", "0,1,0,client", "15,drain,0,3,ab,0");
    // Drained before it was written: the clocks differ.
    let late = process(1, "client", "0,2,0,server", "16,submit,0,1,ab,0");
    doubtful(&(late + &server));
    // Written twice: two processes with the same number.
    let twice = process(
        1,
        "client",
        "0,2,0,server",
        "10,submit,0,1,ab,0 11,submit,0,1,ab,0",
    );
    doubtful(&(twice + &server));
}

#[test]
fn a_ring_is_for_what_was_written_before_and_not_drained_yet() {
    let client = process(
        1,
        "client",
        "0,2,0,server",
        "10,submit,0,1,a,0 20,submit,0,1,b,0 30,ring,0,65535,0,0 50,submit,0,1,c,0 90,ring,0,65535,0,0",
    );
    let server = process(
        2,
        "server",
        "0,1,0,client",
        "40,drain,0,3,a,0 45,drain,0,3,b,0 60,drain,0,3,c,0",
    );
    let timeline = timeline(&(client + &server));
    let rung: Vec<bool> = timeline
        .requests()
        .iter()
        .map(|request| request.place(Point::Ring).is_some())
        .collect();
    assert_eq!(rung, [true, true, false]);
    check(&json(&timeline));
}

#[test]
fn a_coarse_clock_keeps_the_order_of_events() {
    let client = process(
        1,
        "client",
        "0,2,0,server",
        "100,call,0,1,a,0 100,submit,0,1,a,0 100,ring,0,65535,0,0 300,drain_answer,0,1,a,0 300,resume,0,1,a,0",
    );
    let server = process(
        2,
        "server",
        "0,1,0,client",
        "200,drain,0,3,a,0 200,serve,0,3,a,0 200,reply,0,3,a,0",
    );
    let timeline = timeline(&(client + &server));
    assert!(timeline.requests()[0].is_complete());
    assert_eq!(check(&json(&timeline)).flows[&1].len(), 8);
}

#[test]
fn what_the_kernel_serves_passes_through_it() {
    let text = process(
        1,
        "client",
        "2,kernel,kernel,kernel",
        "10,call,2,1,a,0 20,submit,2,1,a,0 25,call,2,4,b,0 26,submit,2,4,b,0 30,sleep,65535,65535,0,0 \
         80,woken,65535,65535,0,0 85,drain_answer,2,1,a,0 90,resume,2,1,a,0 95,drain_answer,2,4,b,0 96,resume,2,4,b,0",
    );
    let timeline = timeline(&text);
    assert!(
        timeline
            .requests()
            .iter()
            .all(|r| r.is_complete() && r.is_to_kernel())
    );
    let trace = check(&json(&timeline));
    let kernel = "kernel, as its callers see it";
    let way = [
        ("call", "client"),
        ("submit", "client"),
        ("in the kernel", kernel),
        ("drain_answer", "client"),
        ("resume", "client"),
    ];
    assert_eq!(trace.way(1), way);
    assert_eq!(trace.way(2), way);
    let inside: Vec<_> = trace
        .slices
        .iter()
        .filter(|slice| slice.name == "in the kernel")
        .collect();
    assert_eq!(inside.len(), 1);
    assert_eq!(inside[0].end - inside[0].start, 50);
    assert_eq!(inside[0].args["answers that came out of it"], 2);
}

#[test]
fn a_visit_that_a_doorbell_shows_is_no_flow_out_of_order() {
    let text = process(
        1,
        "client",
        "2,kernel,kernel,kernel",
        "20,submit,2,1,a,0 30,ring,2,65535,0,0 70,drain_answer,2,1,a,0",
    );
    let trace = check(&json(&timeline(&text)));
    let names: Vec<&str> = trace.way(1).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["submit", "ring", "in the kernel", "drain_answer"]);
}

#[test]
fn two_processes_with_one_number_stay_apart() {
    let one = process(1, "one", "0,2,0,x", "10,submit,0,1,a,0");
    let two = process(1, "two", "1,2,1,y", "20,submit,1,1,a,0");
    let nought = process(0, "nought", "1,2,1,y", "20,submit,1,1,a,0");
    let trace = check(&json(&timeline(&(one + &two + &nought))));
    assert_eq!(trace.processes.len(), 3);
}

#[test]
fn recordings_that_cannot_be_joined_are_explained() {
    let join = |text| Timeline::new(Recording::read(text).unwrap()).unwrap_err();
    assert_eq!(join(""), JoinError::Empty);
    assert_eq!(
        join("@trace begins,1,ns,a\n@trace begins,2,instructions,b\n").to_string(),
        "a and b count time differently; record all processes by one clock"
    );
    let cut_off = "@trace begins,1,ns,a\n@trace event,1,0,5,wake,0,1,0,0\n";
    assert!(json(&timeline(cut_off)).contains("a (cut off)"));
}

/// The element names of a picture, all closed, and its texts.
fn picture(timeline: &Timeline, request: &Request) -> String {
    let mut svg = String::new();
    timeline.write_picture(request, &mut svg).unwrap();
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        let name = tag.split([' ', '/']).next().unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{svg}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty());
    svg
}

#[test]
fn the_picture_shows_each_step_with_its_time() {
    let timeline = timeline(&all_eight().replace(",ns,server", ",ns,a <b> & c"));
    let request = timeline.typical().unwrap();
    let svg = picture(&timeline, request);
    for text in [
        "1 call",
        "2 submit",
        "3 ring",
        "4 drain",
        "5 serve",
        "6 reply",
        "6 ring",
        "7 drain",
        "8 resume",
        "+40 ns",
        "+8060 ns",
        "a &lt;b&gt; &amp; c",
    ] {
        assert!(svg.contains(&format!(">{text}</text>")), "{text}");
    }
    assert_eq!(svg.matches("marker-end").count(), 8);
    assert_eq!(svg.matches("<circle").count(), 9);
}

#[test]
fn the_typical_request_is_complete_and_of_middling_length() {
    let mut client = String::new();
    let mut server = String::new();
    for (token, length) in [(1, 900), (2, 300), (3, 500)] {
        let start = token * 1000;
        let at = |part: u64| start + length * part / 4;
        client += &format!(
            "{start},call,0,1,{token},0 {start},submit,0,1,{token},0 {},drain_answer,0,1,{token},0 {},resume,0,1,{token},0 ",
            at(3),
            at(4)
        );
        let s = at(2);
        server +=
            &format!("{s},drain,0,1,{token},0 {s},serve,0,1,{token},0 {s},reply,0,1,{token},0 ");
    }
    client += "9000,call,0,1,4,0 9010,submit,0,1,4,0";
    let text = process(1, "client", "0,2,0,server", &client)
        + &process(2, "server", "0,1,0,client", &server);
    let timeline = timeline(&text);
    let request = timeline.typical().unwrap();
    assert_eq!(timeline.length(request), 500);
    let only = process(1, "client", "0,2,0,server", "10,submit,0,1,a,0");
    assert!(self::timeline(&only).typical().is_none());
}

/// Numbers that repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Processes that record anything, at any times.
fn nonsense(random: &mut Random, times: &[u64]) -> String {
    let steps = [
        "call",
        "submit",
        "ring",
        "drain",
        "serve",
        "reply",
        "drain_answer",
        "resume",
        "sleep",
        "woken",
        "bound",
        "unbound",
        "cancel",
        "one_way",
    ];
    let mut text = String::new();
    for number in 0..3 {
        let mut time = 0_u64;
        let events: Vec<String> = (0..random.below(40))
            .map(|_| {
                let step = steps[random.below(steps.len() as u64) as usize];
                time = time.saturating_add(times[random.below(times.len() as u64) as usize]);
                let mut small = || random.below(2);
                format!("{time},{step},{},{},{},0", small(), small(), small())
            })
            .collect();
        let peers = ["-,-", "kernel,kernel", "0,0", "0,1", "1,0", "1,1", "2,0"];
        let mut peer = || peers[random.below(peers.len() as u64) as usize];
        text += &format!("@trace begins,{number},ns,p{number}\n");
        text += &format!("@trace connection,{number},0,{},\n", peer());
        text += &format!("@trace connection,{number},1,{},\n", peer());
        for (sequence, event) in events.iter().enumerate() {
            text += &format!("@trace event,{number},{sequence},{event}\n");
        }
        text += &format!("@trace ends,{number},{}\n", events.len());
    }
    text
}

#[test]
fn whatever_was_recorded_the_file_keeps_the_rules_and_has_every_event() {
    let mut random = Random(0x5eed);
    for _ in 0..300 {
        let text = nonsense(&mut random, &[0, 1, 5, 700, 20_000]);
        let timeline = timeline(&text);
        let trace = check(&json(&timeline));
        let events = text.matches("@trace event").count();
        let kernel = |slice: &&rules::Slice| slice.name == "in the kernel";
        let visits = trace.slices.iter().filter(kernel).count();
        assert_eq!(trace.slices.len() - visits, events, "{text}");
        for request in timeline.requests() {
            picture(&timeline, request);
        }
    }
}

#[test]
fn no_time_is_too_late() {
    let mut random = Random(0x5eed);
    for _ in 0..50 {
        let timeline = timeline(&nonsense(&mut random, &[1, u64::MAX / 2, u64::MAX]));
        json(&timeline);
        for request in timeline.requests() {
            picture(&timeline, request);
        }
    }
}
