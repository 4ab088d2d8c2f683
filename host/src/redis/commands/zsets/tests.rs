use crate::redis::resp::reply::Protocol;
use crate::redis::testing::{Bench, replies};

#[test]
fn members_have_scores() {
    Bench::new().script(
        "> zadd z 1 a 2 b 2 b
         :2
         > zadd z ch 1 a 3 b 4 c
         :2
         > zadd z nx 9 a 5 d
         :1
         > zadd z xx gt ch 0 a 9 b 9 nobody
         :1
         > zadd z incr 0.5 a
         1.5
         > zadd z nx incr 1 a
         nil
         > zincrby z -2 nobody
         -2
         > zmscore z a none nobody
         [1.5 nil -2]
         > zrem z nobody none
         :1
         > zcard z
         :4
         > zrank z c
         :1
         > zrevrank z c withscore
         [:2 4]
         > zrank z none withscore
         nil
         > zadd none xx 1 a
         :0
         > exists none
         :0
         > type z
         +zset
         > zrem z a b c d
         :4
         > exists z
         :0",
    );
}

#[test]
fn what_is_wrong_changes_nothing() {
    Bench::new().script(
        "> set s v
         +OK
         > zadd s 1 a
         -WRONGTYPE Operation against a key holding the wrong kind of value
         > zadd z 1 a x b
         -ERR value is not a valid float
         > zadd z nx gt 1 a
         -ERR GT, LT, and/or NX options at the same time are not compatible
         > zadd z nx xx 1 a
         -ERR XX and NX options at the same time are not compatible
         > zadd z incr 1 a 2 b
         -ERR INCR option supports a single increment-element pair
         > zadd z 1e400 a
         -ERR value is not a valid float
         > zadd z nan a
         -ERR value is not a valid float
         > exists z
         :0
         > zadd z inf a
         :1
         > zincrby z -inf a
         -ERR resulting score is not a number (NaN)
         > zadd z 0x10 hex 0x1.8p1 part
         :2
         > zrange z 0 -1 withscores
         [part 3 hex 16 a inf]
         > zrank z a score
         -ERR syntax error
         > zrange z 0 -1 limit 0 1
         -ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
         > zrange z [a [b bylex withscores
         -ERR syntax error, WITHSCORES not supported in combination with BYLEX
         > zrangebyscore z (x 1
         -ERR min or max is not a float
         > zrangebylex z a b
         -ERR min or max not valid string range item
         > zunion 0 z
         -ERR at least 1 input key is needed for 'zunion' command
         > zintercard 1 z limit -1
         -ERR LIMIT can't be negative
         > zmpop 0 z min
         -ERR numkeys should be greater than 0
         > zpopmin z -1
         -ERR value is out of range, must be positive
         > bzpopmin z -1
         -ERR timeout is negative
         > zscan z nothing
         -ERR invalid cursor",
    );
    let long = format!("zadd z 1 {}", "x".repeat(65_501));
    assert!(Bench::new().run(&long).contains("longer than 65500 bytes"));
}

#[test]
fn ranges_go_by_rank_score_and_name() {
    Bench::new().script(
        "> zadd z 1 a 2 b 2 c 3 d
         :4
         > zrange z -3 -2
         [b c]
         > zrange z 1 0
         []
         > zrange z (1 3 byscore limit 1 5
         [c d]
         > zrange z 3 (1 byscore rev limit -1 5
         []
         > zrevrangebyscore z +inf (1 withscores limit 0 2
         [d 3 c 2]
         > zcount z (1 (3
         :2
         > zcount z 3 1
         :0
         > zrangestore n z 0 2 rev
         :3
         > zrange n 0 -1
         [b c d]
         > zadd n xx 0 b 0 c 0 d
         :0
         > zrangebylex n [c +
         [c d]
         > zrevrangebylex n (d - limit 0 1
         [c]
         > zlexcount n - (d
         :2
         > zremrangebylex n [c (d
         :1
         > zremrangebyscore z (1 2
         :2
         > zremrangebyrank z 0 0
         :1
         > zrange z 0 -1
         [d]
         > zrangestore z none 0 -1
         :0
         > exists z
         :0",
    );
}

#[test]
fn several_make_one() {
    Bench::new().script(
        "> zadd a 1 x 2 y 3 z
         :3
         > zadd b 10 y 20 z 30 w
         :3
         > zunion 2 a b withscores
         [x 1 y 12 z 23 w 30]
         > zinter 2 a b weights 10 1 aggregate max withscores
         [y 20 z 30]
         > zdiff 2 a b none
         -ERR syntax error
         > zdiff 3 a b none withscores
         [x 1]
         > zintercard 2 a b limit 1
         :1
         > zinterstore a 2 a b aggregate min
         :2
         > zrange a 0 -1 withscores
         [y 2 z 3]
         > zdiffstore a 2 a a
         :0
         > exists a
         :0",
    );
}

#[test]
fn pops_wait_and_events_tell() {
    let mut bench = Bench::new();
    bench.script(
        "> zadd z 1 a 2 b 3 c 4 d
         :4
         > zpopmin z
         [a 1]
         > zpopmax z 1
         [d 4]
         > zmpop 2 none z max count 1
         [z [[c 3]]]
         > bzpopmax none z 0
         [z b 2]
         > exists z
         :0
         > zmpop 1 z min
         nil",
    );
    let other = bench.connect();
    assert_eq!(bench.run_as(&other, "bzmpop 0 2 x y min count 2"), "");
    assert_eq!(bench.run("zadd y 5 e 4 f 6 g"), ":3");
    assert_eq!(replies(&other), "[y [[f 4] [e 5]]]");
    bench.speak(Protocol::V3);
    assert_eq!(bench.run("zrange y 0 -1 withscores"), "[[g ,6]]");
    assert_eq!(bench.run("zpopmin y 2"), "[[g ,6]]");
    assert_eq!(bench.run("zscore y g"), "nil");
}

#[test]
fn large_ones_scan_by_pieces_and_lose_most_of_themselves() {
    let mut bench = Bench::new();
    for first in (0..12_000).step_by(1_000) {
        let pairs: Vec<String> = (first..first + 1_000).map(|n| format!("{n} m{n:05}")).collect();
        assert_eq!(bench.run(&format!("zadd z {}", pairs.join(" "))), ":1000");
    }
    let mut cursor = "0".to_owned();
    let mut seen = Vec::new();
    loop {
        let reply = bench.run(&format!("zscan z {cursor} count 700 match m*5"));
        let (next, found) = reply.trim_matches(['[', ']']).split_once(" [").expect("a cursor and members");
        seen.extend(found.trim_end_matches(']').split_whitespace().step_by(2).map(str::to_owned));
        cursor = next.to_owned();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 1_200);
    assert!(seen.is_sorted());
    bench.script(
        "> zrank z m06000
         :6000
         > zrevrange z 6000 6001 withscores
         [m05999 5999 m05998 5998]
         > zcount z 1000 10999
         :10000
         > zremrangebyrank z 100 5099
         :5000
         > zrank z m06000
         :1000
         > pexpireat z 99999999999999
         :1
         > zremrangebyscore z 5110 11989
         :6880
         > zrange z 98 -10 withscores
         [m00098 98 m00099 99 m05100 5100 m05101 5101 m05102 5102 m05103 5103 m05104 5104 m05105 5105 m05106 5106 m05107 5107 m05108 5108 m05109 5109 m11990 11990]
         > zcard z
         :120
         > dbsize
         :1",
    );
    assert!(bench.run("ttl z").len() > 9);
}

/// Pops move the bounds of the scores; whatever is added afterwards is found again.
#[test]
fn what_is_added_behind_a_pop_is_found() {
    Bench::new().script(
        "> zadd z 1 a 2 b 2 bb 3 c 4 d
         :5
         > zpopmin z
         [a 1]
         > zpopmax z
         [d 4]
         > zadd z 0 e 9 f 2 a
         :3
         > zrange z 0 -1
         [e a b bb c f]
         > zpopmin z 3
         [e 0 a 2 b 2]
         > zpopmax z 2
         [f 9 c 3]
         > zadd z 5 bb -inf g
         :1
         > zrange z 0 -1 withscores
         [g -inf bb 5]
         > zrange z 0 -1 rev
         [bb g]
         > zpopmin z
         [g -inf]
         > zincrby z -7 bb
         -2
         > zpopmin z
         [bb -2]
         > exists z
         :0",
    );
}
