//! The file of a run keeps the rules. `cargo xtask test --only qemu` calls this with what a machine has just recorded; by hand:
//! `BATON_TRACE_FILE=target/run/linux.json cargo test -p baton-timeline --test file -- --ignored`.

mod rules;

#[test]
#[ignore = "needs a file, named in BATON_TRACE_FILE"]
fn a_file_keeps_the_rules() {
    let path = std::env::var("BATON_TRACE_FILE").expect("BATON_TRACE_FILE names a file");
    let json = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let trace = rules::check(&json);
    // Of some request each step from call to resume, in the process that it belongs to.
    let whole = trace.flows.keys().any(|flow| {
        let way = trace.way(*flow);
        let steps: Vec<&str> = way.iter().map(|(step, _)| *step).collect();
        let steps: Vec<&str> = steps.into_iter().filter(|step| *step != "ring").collect();
        let all = [
            "call",
            "submit",
            "drain",
            "serve",
            "reply",
            "drain_answer",
            "resume",
        ];
        let of = |step| {
            way.iter()
                .find(|(name, _)| *name == step)
                .map(|(_, of)| *of)
        };
        steps == all && of("call") == of("resume") && of("call") != of("serve")
    });
    assert!(whole, "{path} has no whole request");
    println!(
        "{path}: {} slices, {} flows, {} processes",
        trace.slices.len(),
        trace.flows.len(),
        trace.processes.len()
    );
}
