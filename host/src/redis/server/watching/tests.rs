use crate::redis::testing::Bench;

/// EXEC of a transaction of one PING, after WATCH, what `between` does as another client, and its time.
fn exec(before: &[&str], watched: &str, between: &[&str], passes_ms: u64, active: bool) -> String {
    let mut bench = Bench::new();
    bench.server.state.config.active_expire = active;
    let other = bench.connect();
    for command in before {
        match command.strip_prefix("pass ") {
            Some(ms) => bench.pass(ms.parse().expect("milliseconds")),
            None => assert!(!bench.run_as(&other, command).starts_with('-'), "{command}"),
        }
    }
    assert_eq!(bench.run(&format!("WATCH {watched}")), "+OK");
    bench.pass(passes_ms);
    for command in between {
        assert!(!bench.run_as(&other, command).starts_with('-'), "{command}");
    }
    bench.run("MULTI");
    bench.run("PING");
    bench.run("EXEC")
}

#[test]
fn a_watched_key_that_expires_stops_exec_whether_it_was_taken_out_or_not() {
    for active in [true, false] {
        let set = ["SET k 1 PX 50"];
        assert_eq!(exec(&set, "k", &[], 10, active), "[+PONG]");
        assert_eq!(exec(&set, "k", &[], 100, active), "nil");
        // More than are taken out before a command, and all before it.
        let mut many: Vec<String> = (0..200).map(|i| format!("SET a{i} 1 PX 50")).collect();
        many.push("SET k 1 PX 50".to_owned());
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(exec(&many, "k", &[], 100, active), "nil");
        // It was over at WATCH: that it goes, changes nothing.
        assert_eq!(exec(&["SET k 1 PX 50", "pass 100"], "k", &["PING", "DEL k"], 100, active), "[+PONG]");
        assert_eq!(exec(&["SET k 1 PX 50", "pass 100"], "k", &["SET k 2"], 100, active), "nil");
    }
}

#[test]
fn a_flush_concerns_watched_keys_that_are_there() {
    for flush in ["FLUSHALL", "FLUSHDB"] {
        assert_eq!(exec(&[], "k", &[flush], 0, true), "[+PONG]", "{flush}");
        assert_eq!(exec(&["SET k 1"], "k", &[flush], 0, true), "nil", "{flush}");
        assert_eq!(exec(&[], "k", &[flush, "SET k 1"], 0, true), "nil", "{flush}");
        assert_eq!(exec(&[], "k", &["SET k 1", flush], 0, true), "nil", "{flush}");
        assert_eq!(exec(&[], "k", &[flush, flush, "SELECT 1", "SET k 1", flush], 0, true), "[+PONG]");
        for (inside, wanted) in [
            (["PING", flush], "[+PONG]"),
            (["SET k 1", flush], "nil"),
            ([flush, "SET k 1"], "nil"),
            ([flush, flush], "[+PONG]"),
        ] {
            let between = ["MULTI", inside[0], inside[1], "EXEC"];
            assert_eq!(exec(&[], "k", &between, 0, true), wanted, "{inside:?}");
        }
        assert_eq!(exec(&[], "k", &["MULTI", flush, "SET k 1", flush, "EXEC"], 0, true), "nil");
    }
    assert_eq!(exec(&["SET k 1"], "k", &["SELECT 1", "FLUSHDB"], 0, true), "[+PONG]");
}

#[test]
fn a_swap_concerns_watched_keys_that_are_in_one_of_the_two() {
    let swap = "SWAPDB 0 1";
    assert_eq!(exec(&[], "k", &[swap], 0, true), "[+PONG]");
    assert_eq!(exec(&[], "k", &[swap, swap], 0, true), "[+PONG]");
    assert_eq!(exec(&[], "k", &["MULTI", swap, swap, "EXEC"], 0, true), "[+PONG]");
    assert_eq!(exec(&["SET k 1"], "k", &[swap], 0, true), "nil");
    assert_eq!(exec(&["SET k 1"], "k", &[swap, swap], 0, true), "nil");
    assert_eq!(exec(&["SELECT 1", "SET k 1"], "k", &[swap], 0, true), "nil");
    assert_eq!(exec(&["SELECT 1", "SET k 1"], "k", &[swap, swap], 0, true), "nil");
    assert_eq!(exec(&["SET k 1"], "k", &["SWAPDB 1 2"], 0, true), "[+PONG]");
    // It is watched where it is then.
    assert_eq!(exec(&[], "k", &[swap, "SET k 1"], 0, true), "nil");
    assert_eq!(exec(&[], "k", &[swap, "SELECT 1", "SET k 1"], 0, true), "[+PONG]");
    assert_eq!(exec(&[], "k", &["MULTI", swap, "SET k 1", "EXEC"], 0, true), "nil");
    assert_eq!(exec(&[], "k", &["MULTI", "SET k 1", "DEL k", swap, "EXEC"], 0, true), "nil");
}
