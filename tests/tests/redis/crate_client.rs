//! The crate `redis`, unmodified, through every group of commands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nokv::redis::Config;
use nokv_tests::redis::oracle::OurRedis;
use redis::{Commands, ConnectionLike, RedisResult};

fn walk(url: &str) -> RedisResult<()> {
    let client = redis::Client::open(url)?;
    let mut con = client.get_connection()?;
    assert!(con.check_connection());

    // Strings, bits, keys.
    let _: () = con.set_ex("s", "a", 100)?;
    assert!(con.ttl::<_, i64>("s")? > 90);
    assert!(!con.set_nx::<_, _, bool>("s", "b")?);
    assert_eq!(con.append::<_, _, i64>("s", "bc")?, 3);
    assert_eq!(con.getrange::<_, String>("s", 1, 2)?, "bc");
    assert_eq!(con.incr::<_, _, i64>("n", 41)?, 41);
    let _: () = con.mset(&[("a", 1), ("b", 2)])?;
    assert_eq!(con.mget::<_, Vec<Option<i64>>>(&["a", "none", "b"])?, [Some(1), None, Some(2)]);
    assert!(!con.setbit::<_, bool>("bits", 9, true)?);
    assert_eq!(con.bitcount::<_, i64>("bits")?, 1);
    assert_eq!(con.exists::<_, i64>(&["a", "b", "none"])?, 2);
    let _: () = con.rename("a", "a2")?;
    assert_eq!(con.del::<_, i64>(&["a2", "b"])?, 2);
    for i in 0..300 {
        let _: () = con.set(format!("scan:{i}"), i)?;
    }
    let found: RedisResult<BTreeSet<String>> = con.scan_match::<_, String>("scan:*")?.collect();
    assert_eq!(found?.len(), 300);

    // Collections.
    assert_eq!(con.hset_multiple::<_, _, _, String>("h", &[("a", 1), ("b", 2)])?, "OK");
    let all: BTreeMap<String, i64> = con.hgetall("h")?;
    assert_eq!(all, BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
    assert_eq!(con.hincr::<_, _, _, i64>("h", "a", 4)?, 5);
    assert_eq!(con.rpush::<_, _, i64>("l", &["a", "b", "c"])?, 3);
    assert_eq!(con.lrange::<_, Vec<String>>("l", 0, -1)?, ["a", "b", "c"]);
    assert_eq!(con.lpop::<_, Option<String>>("l", None)?.as_deref(), Some("a"));
    assert_eq!(con.sadd::<_, _, i64>("t", &[1, 2, 3])?, 3);
    assert_eq!(con.smembers::<_, BTreeSet<i64>>("t")?, BTreeSet::from([1, 2, 3]));
    assert_eq!(con.zadd_multiple::<_, _, _, i64>("z", &[(1.5, "a"), (2.0, "b")])?, 2);
    assert_eq!(
        con.zrange_withscores::<_, Vec<(String, f64)>>("z", 0, -1)?,
        [("a".to_owned(), 1.5), ("b".to_owned(), 2.0)]
    );
    assert_eq!(con.zrank::<_, _, Option<i64>>("z", "b")?, Some(1));
    assert_eq!(con.blpop::<_, Option<(String, String)>>("l", 1.0)?, Some(("l".to_owned(), "b".to_owned())));
    assert_eq!(con.blpop::<_, Option<(String, String)>>("none", 0.05)?, None);

    // Transactions.
    let (old, new): (i64, i64) = redis::pipe().atomic().get("n").incr("n", 1).query(&mut con)?;
    assert_eq!((old, new), (41, 42));
    let doubled: (i64,) = redis::transaction(&mut con, &["n"], |con, pipe| {
        let n: i64 = con.get("n")?;
        pipe.set("n", 2 * n).ignore().get("n").query(con)
    })?;
    assert_eq!(doubled, (84,));
    let wrong: RedisResult<i64> = con.rpush("n", "x");
    assert_eq!(wrong.expect_err("a string").code(), Some("WRONGTYPE"));

    // Messages.
    let mut listener = client.get_connection()?;
    listener.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut channel = listener.as_pubsub();
    channel.subscribe("news")?;
    assert_eq!(con.publish::<_, _, i64>("news", "hello")?, 1);
    assert_eq!(channel.get_message()?.get_payload::<String>()?, "hello");

    let _: () = redis::cmd("FLUSHALL").query(&mut con)?;
    assert_eq!(redis::cmd("DBSIZE").query::<i64>(&mut con)?, 0);
    Ok(())
}

#[test]
fn the_crate_redis_works_in_both_versions_of_the_protocol() {
    let server = OurRedis::start(Config::default());
    for protocol in ["resp2", "resp3"] {
        let url = format!("redis://{}/0?protocol={protocol}", server.at());
        walk(&url).unwrap_or_else(|error| panic!("{protocol}: {error}"));
    }
}
