use crate::redis::testing::{Bench, events};

/// Commands, each with the events that it makes.
const EVENTS: &str = "
        > hset h a 1 b 2
        hset h
        > hset h a 1
        hset h
        > hmset h c 3
        hset h
        > hsetnx h a 1
        > hsetnx h d 1
        hset h
        > hincrby h n 1
        hincrby h
        > hincrbyfloat h n 1.5
        hincrbyfloat h
        > hdel h zz
        > hdel h a b
        hdel h
        > hdel h c d n
        hdel h, del h
        > sadd s a b c
        sadd s
        > sadd s a
        > srem s zz
        > srem s a
        srem s
        > smove s t b
        srem s, sadd t
        > smove s t zz
        > sadd t c
        sadd t
        > smove s t c
        srem s, del s
        > spop t
        spop t
        > spop t 5
        spop t, del t
        > sadd s a b
        sadd s
        > sunionstore d s
        sunionstore d
        > sinterstore d s none
        del d
        > sdiffstore d s none
        sdiffstore d
        > sdiffstore d none s
        del d
        > sunionstore d none
        > rpush l a b c d e f
        rpush l
        > lpush l a
        lpush l
        > lpushx l b
        lpush l
        > rpushx none b
        > linsert l before a x
        linsert l
        > linsert l before zz x
        > lset l 0 q
        lset l
        > lrem l 0 zz
        > lrem l 1 x
        lrem l
        > ltrim l 1 -2
        ltrim l
        > lpop l
        lpop l
        > rpop l 0
        > rpop l 1
        rpop l
        > lmove l m left right
        rpush m, lpop l
        > lmove m m left right
        rpush m, lpop m
        > rpoplpush m m
        lpush m, rpop m
        > lmove m l left right
        rpush l, lpop m, del m
        > lmpop 1 l left count 2
        lpop l
        > blpop l 0
        lpop l
        > del l
        del l
        > rpush l a
        rpush l
        > ltrim l 5 6
        ltrim l, del l
        > rpush l a a
        rpush l
        > lrem l 0 a
        lrem l, del l
        > rpush l a
        rpush l
        > blmove l m right left 0
        lpush m, rpop l, del l
        > brpoplpush m l 0
        lpush l, rpop m, del m
        > blmpop 0 1 l left count 5
        lpop l, del l
";

#[test]
fn commands_make_the_events_of_redis() {
    let mut bench = Bench::new();
    let listener = bench.listen("Eglsh");
    let mut lines = EVENTS.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let command = line.strip_prefix("> ").expect("a command");
        let wanted = lines.next_if(|line| !line.starts_with("> ")).unwrap_or_default();
        let reply = bench.run(command);
        assert!(!reply.starts_with('-'), "{command}: {reply}");
        assert_eq!(events(&listener), wanted, "{command}");
    }
}
