use crate::redis::testing::Bench;

#[test]
fn elements_come_and_go_at_the_ends() {
    Bench::new().script(
        "
        > rpush l a b c
        :3
        > lpush l d e
        :5
        > lrange l 0 -1
        [e d a b c]
        > lpushx none a
        :0
        > rpushx l f
        :6
        > lpop l
        e
        > rpop l
        f
        > lpop l 2
        [d a]
        > rpop l 0
        []
        > rpop l 9
        [c b]
        > exists l
        :0
        > lpop l
        nil
        > lpop l 1
        nil
        > llen l
        :0
        > dbsize
        :0
        ",
    );
}

#[test]
fn elements_are_found_by_index_and_by_value() {
    Bench::new().script(
        "
        > rpush l a b c a b c
        :6
        > lindex l 0
        a
        > lindex l -1
        c
        > lindex l 6
        nil
        > lset l -2 B
        +OK
        > lrange l 3 100
        [a B c]
        > lrange l -2 -1
        [B c]
        > lrange l 4 2
        []
        > lpos l a
        :0
        > lpos l a rank -1
        :3
        > lpos l a rank 2
        :3
        > lpos l c count 0
        [:2 :5]
        > lpos l c count 0 rank -1
        [:5 :2]
        > lpos l c count 0 maxlen 3
        [:2]
        > lpos l c maxlen 2
        nil
        > lpos l z count 0
        []
        > linsert l before c X
        :7
        > linsert l after c Y
        :8
        > linsert l after zz Y
        :-1
        > linsert none after zz Y
        :0
        > lrange l 0 -1
        [a b X c Y a B c]
        > lrem l 1 a
        :1
        > lrem l -1 c
        :1
        > lrem l 0 zz
        :0
        > lrange l 0 -1
        [b X c Y a B]
        > lindex l 3
        Y
        > ltrim l 1 -2
        +OK
        > lrange l 0 -1
        [X c Y a]
        > ltrim l 5 9
        +OK
        > exists l
        :0
        ",
    );
}

#[test]
fn elements_move_between_lists() {
    Bench::new().script(
        "
        > rpush a 1 2 3
        :3
        > lmove a b left right
        1
        > rpoplpush a b
        3
        > lrange b 0 -1
        [3 1]
        > lmove a a left right
        2
        > rpoplpush b b
        1
        > lrange b 0 -1
        [1 3]
        > lmove b b left left
        1
        > lmove none b left left
        nil
        > lmpop 2 none b left count 5
        [b [1 3]]
        > lmpop 1 b right
        nil
        > lmpop 3 none b a right
        [a [2]]
        > dbsize
        :0
        ",
    );
}

#[test]
fn what_is_wrong_is_said() {
    Bench::new().script(
        "
        > set s x
        +OK
        > rpush l a
        :1
        > lpush s a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > lmove l s left left
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > lmove none s left left
        nil
        > lmove l m up left
        -ERR syntax error
        > lpop l -1
        -ERR value is out of range, must be positive
        > lpop l 1 1
        -ERR wrong number of arguments for 'lpop' command
        > lset none 0 a
        -ERR no such key
        > lset l 1 a
        -ERR index out of range
        > lset l x a
        -ERR value is not an integer or out of range
        > linsert l over a b
        -ERR syntax error
        > lpos l a rank 0
        -ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start \
         from the end of the list
        > lpos l a count -1
        -ERR COUNT can't be negative
        > lpos l a maxlen -1
        -ERR MAXLEN can't be negative
        > lpos l a rank
        -ERR syntax error
        > lmpop 0 l left
        -ERR numkeys should be greater than 0
        > lmpop 2 l left
        -ERR syntax error
        > lmpop 1 l left count 0
        -ERR count should be greater than 0
        > lrange l 0 -1
        [a]
        ",
    );
}

#[test]
fn long_lists_are_trimmed_by_ranges() {
    let mut bench = Bench::new();
    let elements: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    bench.run(&format!("rpush l {}", elements.join(" ")));
    bench.run("linsert l before 100 x");
    assert_eq!(bench.run("ltrim l 90 -91"), "+OK");
    assert_eq!(
        bench.run("lrange l 0 -1"),
        "[90 91 92 93 94 95 96 97 98 99 x 100 101 102 103 104 105 106 107 108 109]"
    );
    bench.run(&format!("rpush l {}", elements.join(" ")));
    let popped = bench.run("rpop l 150");
    assert!(popped.starts_with("[199 198") && popped.ends_with(" 50]"));
    assert_eq!(bench.run("llen l"), ":71");
    assert_eq!(
        bench.run("lpop l 22"),
        "[90 91 92 93 94 95 96 97 98 99 x 100 101 102 103 104 105 106 107 108 109 0]"
    );
    assert_eq!(bench.run("lindex l 0"), "1");
    assert_eq!(bench.run("lindex l -1"), "49");
}
