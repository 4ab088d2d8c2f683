use crate::redis::testing::Bench;

/// Of each command with keys, and of some without: what `COMMAND GETKEYS` of redis-server 7.0.15 gives. (It asks for an argument of
/// the command, too, as 7.2 does not.)
const KEYS: &str = r##"
    append k v => [k]
    bitcount k 0 1 => [k]
    bitfield k get u4 0 => [k]
    bitfield_ro k get u4 0 => [k]
    bitop and d a b c => [d a b c]
    bitpos k 1 => [k]
    blmove a b left right 0 => [a b]
    blmpop 0 2 a b left count 3 => [a b]
    blpop a b 0 => [a b]
    brpop a b 0 => [a b]
    brpoplpush a b 0 => [a b]
    bzmpop 0 2 a b min count 3 => [a b]
    bzpopmax a b 0 => [a b]
    bzpopmin a b 0 => [a b]
    copy a b db 1 replace => [a b]
    debug object k => -ERR The command has no key arguments
    decr k => [k]
    decrby k 1 => [k]
    del a b c => [a b c]
    dump k => [k]
    exists a b => [a b]
    expire k 1 => [k]
    expireat k 1 => [k]
    expiretime k => [k]
    get k => [k]
    getbit k 1 => [k]
    getdel k => [k]
    getex k ex 1 => [k]
    getrange k 0 1 => [k]
    getset k v => [k]
    hdel k a b => [k]
    hexists k f => [k]
    hget k f => [k]
    hgetall k => [k]
    hincrby k f 1 => [k]
    hincrbyfloat k f 1 => [k]
    hkeys k => [k]
    hlen k => [k]
    hmget k a b => [k]
    hmset k a b => [k]
    hrandfield k 1 => [k]
    hscan k 0 => [k]
    hset k a b => [k]
    hsetnx k a b => [k]
    hstrlen k f => [k]
    hvals k => [k]
    incr k => [k]
    incrby k 1 => [k]
    incrbyfloat k 1 => [k]
    keys * => -ERR The command has no key arguments
    lcs a b len => [a b]
    lindex k 0 => [k]
    linsert k before a b => [k]
    llen k => [k]
    lmove a b left right => [a b]
    lmpop 2 a b left count 3 => [a b]
    lpop k 1 => [k]
    lpos k e => [k]
    lpush k a b => [k]
    lpushx k a b => [k]
    lrange k 0 1 => [k]
    lrem k 0 e => [k]
    lset k 0 e => [k]
    ltrim k 0 1 => [k]
    memory usage k => [k]
    memory doctor => -ERR The command has no key arguments
    mget a b => [a b]
    move k 1 => [k]
    mset a 1 b 2 => [a b]
    msetnx a 1 b 2 => [a b]
    object encoding k => [k]
    object freq k => [k]
    object idletime k => [k]
    object refcount k => [k]
    persist k => [k]
    pexpire k 1 => [k]
    pexpireat k 1 => [k]
    pexpiretime k => [k]
    psetex k 1 v => [k]
    psubscribe p => -ERR The command has no key arguments
    pttl k => [k]
    publish c m => -ERR The command has no key arguments
    rename a b => [a b]
    renamenx a b => [a b]
    restore k 0 x replace => [k]
    rpop k => [k]
    rpoplpush a b => [a b]
    rpush k a b => [k]
    rpushx k a b => [k]
    sadd k a b => [k]
    scan 0 => -ERR The command has no key arguments
    scard k => [k]
    sdiff a b => [a b]
    sdiffstore d a b => [d a b]
    set k v ex 1 => [k]
    setbit k 1 1 => [k]
    setex k 1 v => [k]
    setnx k v => [k]
    setrange k 0 v => [k]
    sinter a b => [a b]
    sintercard 2 a b limit 1 => [a b]
    sinterstore d a b => [d a b]
    sismember k m => [k]
    smembers k => [k]
    smismember k a b => [k]
    smove a b m => [a b]
    sort l => [l]
    sort l store d => [l d]
    sort l by store* limit 0 10 get # alpha STORE d desc => [l d]
    sort l store d store e => [l e]
    sort l by store => [l]
    sort l limit 1 => [l]
    sort_ro l by w_* => [l]
    spop k 1 => [k]
    spublish c m => -ERR The command has no key arguments
    srandmember k 1 => [k]
    srem k a b => [k]
    sscan k 0 => [k]
    ssubscribe c => -ERR The command has no key arguments
    strlen k => [k]
    subscribe c => -ERR The command has no key arguments
    substr k 0 1 => [k]
    sunion a b => [a b]
    sunionstore d a b => [d a b]
    sunsubscribe c => -ERR The command has no key arguments
    swapdb 0 1 => -ERR The command has no key arguments
    touch a b => [a b]
    ttl k => [k]
    type k => [k]
    unlink a b => [a b]
    watch a b => [a b]
    zadd k 1 a => [k]
    zcard k => [k]
    zcount k 0 1 => [k]
    zdiff 2 a b withscores => [a b]
    zdiffstore d 2 a b => [d a b]
    zincrby k 1 m => [k]
    zinter 2 a b weights 1 2 => [a b]
    zintercard 2 a b limit 1 => [a b]
    zinterstore d 2 a b weights 1 2 => [d a b]
    zlexcount k - + => [k]
    zmpop 2 a b min count 3 => [a b]
    zmscore k a b => [k]
    zpopmax k 1 => [k]
    zpopmin k 1 => [k]
    zrandmember k 1 => [k]
    zrange k 0 1 => [k]
    zrangebylex k - + => [k]
    zrangebyscore k 0 1 => [k]
    zrangestore d s 0 1 => [d s]
    zrank k m => [k]
    zrem k a b => [k]
    zremrangebylex k - + => [k]
    zremrangebyrank k 0 1 => [k]
    zremrangebyscore k 0 1 => [k]
    zrevrange k 0 1 => [k]
    zrevrangebylex k + - => [k]
    zrevrangebyscore k 1 0 => [k]
    zrevrank k m => [k]
    zscan k 0 => [k]
    zscore k m => [k]
    zunion 2 a b withscores => [a b]
    zunionstore d 2 a b => [d a b]
    zunionstore d 0 a => -ERR Invalid arguments specified for command
    zunionstore d 3 a b => -ERR Invalid arguments specified for command
    zunion x a b => -ERR Invalid arguments specified for command
    lmpop 3 a left => -ERR Invalid arguments specified for command
    nosuch k => -ERR Invalid command specified
    config get x => -ERR The command has no key arguments
    acl whoami => -ERR The command has no key arguments
    client id => -ERR The command has no key arguments
"##;

#[test]
fn the_keys_of_all_commands_are_those_of_redis() {
    let mut bench = Bench::new();
    let mut differ = Vec::new();
    for line in KEYS.lines().filter(|line| !line.is_empty()) {
        let (command, reply) = line.trim().split_once(" => ").expect("command and reply");
        let given = bench.run(&format!("COMMAND GETKEYS {command}"));
        if given != reply {
            differ.push(format!("{command}: {given}, not {reply}"));
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    // None is left out.
    for entry in super::tops(super::Table::shared()) {
        let has_keys = !matches!(entry.command.keys, super::Keys::None);
        let is_there = KEYS.lines().any(|line| line.split_whitespace().next() == Some(&entry.full));
        assert!(is_there || !has_keys, "{}", entry.full);
    }
}

/// What SORT stores is a key, and so is checked as one.
#[test]
fn the_key_that_sort_stores_is_checked() {
    Bench::new().script(
        r#"
        > ACL SETUSER bob on nopass ~l ~d* +@all
        +OK
        > ACL DRYRUN bob SORT l STORE d1
        +OK
        > ACL DRYRUN bob SORT l STORE e
        User bob has no permissions to access the 'e' key
        "#,
    );
}
