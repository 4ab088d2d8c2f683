use super::*;

fn layer(floor: (u64, u64), run: fn(Scale) -> u64) -> Layer {
    Layer { name: "one", fault: "something goes wrong", unit: "cases", floor, run }
}

fn ended(layer: &Layer, scale: Scale) -> Ended {
    layer.outcome_of(scale, false).ended
}

#[test]
fn fewer_cases_than_promised_fail() {
    let few = layer((2, 5), |scale| scale.pick(2, 4));
    assert_eq!(ended(&few, Scale::Slice), Ended::Passed(2));
    assert_eq!(ended(&few, Scale::Full), Ended::Failed("only 4 cases: at least 5 are promised".into()));
    let none = layer((1, 1), |_| 0);
    assert_eq!(ended(&none, Scale::Full), Ended::Failed("only 0 cases: at least 1 are promised".into()));
}

#[test]
fn a_layer_that_cannot_run_is_not_run_and_the_next_one_is() {
    let absent = layer((1, 1), |_| not_run("no right to mount"));
    assert_eq!(ended(&absent, Scale::Full), Ended::NotRun("no right to mount".into()));
    let none = layer((1, 1), |_| 0);
    assert!(matches!(ended(&none, Scale::Full), Ended::Failed(_)), "what was said is over");
    // It ran some and then could not go on: these are too few.
    let half = layer((2, 2), |_| 1 + not_run("no right to mount"));
    assert!(matches!(ended(&half, Scale::Full), Ended::Failed(_)));
}

#[test]
fn one_case_alone_is_not_too_few_and_none_is() {
    let one = layer((100, 100), |_| {
        picked_of("one");
        1
    });
    assert_eq!(one.outcome_of(Scale::Full, true).ended, Ended::Passed(1));
    let other = layer((100, 100), |_| {
        picked_of("one");
        0
    });
    let text = "NOKV_CASE matches no case of one".to_owned();
    assert_eq!(other.outcome_of(Scale::Full, true).ended, Ended::Failed(text));
    let deaf = layer((100, 100), |_| 100);
    let text = "one has no cases that NOKV_CASE could pick".to_owned();
    assert_eq!(deaf.outcome_of(Scale::Full, true).ended, Ended::Failed(text));
}

#[test]
fn a_picked_case_runs_alone() {
    let ran = Mutex::new(Vec::new());
    let run = |only| {
        let count = run_picked(only, "one", &[1, 2, 3], i32::to_string, |n| ran.lock().unwrap().push(*n));
        let mut ran = std::mem::take(&mut *ran.lock().unwrap());
        ran.sort_unstable();
        (count, ran)
    };
    assert_eq!(run(None), (3, vec![1, 2, 3]));
    assert_eq!(run(Some("2")), (1, vec![2]));
    assert_eq!(run(Some("4")), (0, vec![]));
}

#[test]
fn a_failure_names_its_command() {
    let failing = layer((1, 1), |_| {
        run_picked(None, "one", &[1, 2, 3], i32::to_string, |n| assert!(*n != 2, "it is two"))
    });
    let Ended::Failed(text) = ended(&failing, Scale::Slice) else { panic!("it fails") };
    assert!(text.starts_with("2: it is two\n"), "{text}");
    assert!(text.contains("NOKV_CASE='one:2' cargo run --release -p nokv-tests --bin net one"), "{text}");
}

#[test]
fn the_table_shows_what_was_not_run() {
    let run = |run| layer((1, 1), run).outcome_of(Scale::Full, false);
    let mut out = Vec::new();
    print(&mut out, &[run(|_| 7), run(|_| 0), run(|_| not_run("no disk"))]).unwrap();
    let text = String::from_utf8(out).unwrap();
    let rows: Vec<Vec<&str>> =
        text.lines().skip(1).map(|line| line.split_whitespace().skip(3).collect()).collect();
    assert_eq!(rows[0][..3], ["7", "cases", "0"]);
    assert_eq!(rows[1][..3], ["?", "cases", "1"]);
    assert_eq!(rows[2][..4], ["not", "run", "cases", "-"]);
}

#[test]
fn a_test_names_its_command() {
    let command = replay_test().expect("tests run on threads with their names");
    let test = "net::tests::a_test_names_its_command";
    assert!(command.starts_with("cargo test -p nokv-tests --test ") && command.ends_with(test), "{command}");
}
