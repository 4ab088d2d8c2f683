use crate::redis::resp::reply::Protocol;
use crate::redis::testing::Bench;

#[test]
fn fields_are_set_read_and_removed() {
    Bench::new().script(
        "
        > hset h a 1 b 2 a 3
        :2
        > hset h a 4
        :0
        > hmset h c 5
        +OK
        > hsetnx h c 6
        :0
        > hsetnx h d 7
        :1
        > hget h a
        4
        > hget h z
        nil
        > hget none a
        nil
        > hmget h a z d
        [4 nil 7]
        > hmget none a
        [nil]
        > hgetall h
        [a 4 b 2 c 5 d 7]
        > hgetall none
        []
        > hkeys h
        [a b c d]
        > hvals h
        [4 2 5 7]
        > hlen h
        :4
        > hexists h a
        :1
        > hexists h z
        :0
        > hstrlen h a
        :1
        > hstrlen h z
        :0
        > hdel h a a z
        :1
        > hdel h b c d
        :3
        > exists h
        :0
        > dbsize
        :0
        ",
    );
}

#[test]
fn numbers_in_fields_count() {
    Bench::new().script(
        "
        > hincrby h n 5
        :5
        > hincrby h n -7
        :-2
        > hset h n 9223372036854775807 t text
        :1
        > hincrby h n 1
        -ERR increment or decrement would overflow
        > hincrby h t 1
        -ERR hash value is not an integer
        > hincrby h n x
        -ERR value is not an integer or out of range
        > hincrbyfloat h f 0.1
        0.1
        > hincrbyfloat h f 0.2
        0.3
        > hincrbyfloat h f 5e3
        5000.29999999999999982
        > hincrbyfloat h t 1
        -ERR hash value is not a float
        > hincrbyfloat h f x
        -ERR value is not a valid float
        > hincrbyfloat h f inf
        -ERR value is NaN or Infinity
        ",
    );
}

#[test]
fn what_is_wrong_is_said() {
    let mut bench = Bench::new();
    bench.script(
        "
        > set s x
        +OK
        > hset s a 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > hget s a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > hset h a
        -ERR wrong number of arguments for 'hset' command
        > hset h a 1 b
        -ERR wrong number of arguments for 'hset' command
        > hmset h a 1 b
        -ERR wrong number of arguments for 'hmset' command
        > hrandfield h x
        -ERR value is not an integer or out of range
        > hrandfield h 1 values
        -ERR syntax error
        > hrandfield h -9223372036854775808
        -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        > hrandfield h 4611686018427387904 withvalues
        -ERR value is out of range
        > hscan h x
        -ERR invalid cursor
        > hscan h 0 novalues
        [0 []]
        > hset h a 1
        :1
        > hscan h 0 novalues
        -ERR syntax error
        > hscan h 0 count 0
        -ERR syntax error
        > hscan h 0 count x
        -ERR value is not an integer or out of range
        ",
    );
    let long = "f".repeat(65_501);
    let said = "-ERR key, member or field is longer than 65500 bytes";
    for command in
        ["hset h a 2 FIELD 1", "hsetnx h FIELD 1", "hget h FIELD", "hdel h a FIELD", "hincrby h FIELD 1"]
    {
        assert_eq!(bench.run(&command.replace("FIELD", &long)), said);
    }
    assert_eq!(bench.run("hget h a"), "1");
    assert_eq!(bench.run(&format!("hset h {} 1", &long[1..])), ":1");
}

#[test]
fn chance_picks_fields() {
    let mut bench = Bench::new();
    bench.script(
        "
        > hrandfield h
        nil
        > hrandfield h 5
        []
        > hset h a 1
        :1
        > hrandfield h
        a
        > hrandfield h 5 withvalues
        [a 1]
        > hrandfield h -3
        [a a a]
        > hrandfield h 0
        []
        ",
    );
    bench.speak(Protocol::V3);
    bench.script(
        "
        > hrandfield h -2 withvalues
        [[a 1] [a 1]]
        > hgetall h
        %[a 1]
        > hgetall none
        %[]
        ",
    );
}

#[test]
fn small_hashes_are_scanned_at_once_and_large_ones_by_pieces() {
    let mut bench = Bench::new();
    bench.run("hset h a 1 b 2 ab 3");
    assert_eq!(bench.run("hscan h 0 count 1"), "[0 [a 1 ab 3 b 2]]");
    assert_eq!(bench.run("hscan h 0 match a*"), "[0 [a 1 ab 3]]");
    for i in 0..600 {
        bench.run(&format!("hset h f{i:03} {i}"));
    }
    let (mut cursor, mut seen, mut calls) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let reply = bench.run(&format!("hscan h {cursor} count 100 match f*"));
        let (next, found) = reply[1..reply.len() - 2].split_once(" [").expect("a cursor and elements");
        seen.extend(found.split_whitespace().step_by(2).map(str::to_owned));
        cursor = next.to_owned();
        calls += 1;
        if cursor == "0" {
            break;
        }
        // What goes and comes meanwhile does not matter to what stays.
        bench.run(&format!("hdel h f{:03}", 599 - calls));
    }
    assert_eq!(calls, 6);
    assert!(seen.iter().take(590).cloned().eq((0..590).map(|i| format!("f{i:03}"))));
    assert_eq!(bench.run("hscan h 77"), "-ERR invalid cursor");
}
