"""Every group of commands through redis-py: python redis_py.py HOST PORT PROTOCOL."""

import sys
import threading
import time

import redis

HOST, PORT, PROTOCOL = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
checks = 0


def same(found, wanted):
    global checks
    checks += 1
    if found != wanted:
        raise AssertionError(f"found {found!r}, wanted {wanted!r}")


def client(**options):
    return redis.Redis(host=HOST, port=PORT, protocol=PROTOCOL, decode_responses=True, **options)


def connection(r):
    same(r.ping(), True)
    same(r.echo("hello"), "hello")
    same(r.client_setname("script"), True)
    same(r.client_getname(), "script")
    same(r.client_id() > 0, True)
    same(any(c["name"] == "script" for c in r.client_list()), True)
    info = r.info()
    same((info["redis_mode"], info["loading"], info["role"]), ("standalone", 0, "master"))
    same(r.config_get("appendfsync")["appendfsync"] in ("always", "everysec", "no"), True)
    same(abs(r.time()[0] - time.time()) < 100, True)
    same(r.command_count() > 100, True)
    same("get" in {name.lower() for name in r.command()}, True)
    same(r.acl_whoami(), "default")
    same(r.role()[0] in ("master", b"master"), True)
    other = client(db=3)
    other.set("only-in-3", "x")
    same(r.exists("only-in-3"), 0)
    same(other.dbsize(), 1)
    other.flushdb()
    same(other.dbsize(), 0)


def strings(r):
    same(r.set("s", "a", ex=100), True)
    same(90 < r.ttl("s") <= 100, True)
    same(r.set("s", "b", nx=True), None)
    same(r.set("s", "b", xx=True, get=True, keepttl=True), "a")
    same(r.getex("s", persist=True), "b")
    same(r.ttl("s"), -1)
    same(r.append("s", "cd"), 3)
    same((r.getrange("s", 1, 2), r.strlen("s"), r.setrange("s", 1, "X")), ("cd", 3, 3))
    same(r.mset({"m1": "1", "m2": "2"}), True)
    same(r.mget("m1", "none", "m2"), ["1", None, "2"])
    same(r.msetnx({"m2": "3", "m3": "3"}), False)
    same((r.incr("n"), r.incrby("n", 10), r.decr("n"), r.incrbyfloat("n", 0.5)), (1, 11, 10, 10.5))
    same((r.getdel("m1"), r.getset("m2", "z"), r.setnx("m2", "y")), ("1", "2", False))
    same((r.setbit("bits", 7, 1), r.getbit("bits", 7), r.bitcount("bits"), r.bitpos("bits", 1)), (0, 1, 1, 7))
    same(r.bitfield("bits").set("u8", 0, 255).get("u4", 0).incrby("u8", 0, 1, "SAT").execute(), [1, 15, 255])
    r.mset({"lcs1": "ohmytext", "lcs2": "mynewtext"})
    same(r.lcs("lcs1", "lcs2"), "mytext")


def keys(r):
    r.set("k", "v")
    same((r.exists("k", "k"), r.type("k"), r.touch("k")), (2, "string", 1))
    same((r.expire("k", 100), r.expire("k", 50, gt=True), r.persist("k")), (True, False, True))
    same(r.pexpireat("k", int(time.time() * 1000) + 100_000), True)
    same(r.pttl("k") > 90_000, True)
    same((r.rename("k", "k2"), r.renamenx("k2", "m2")), (True, False))
    same((r.copy("k2", "k3"), r.object("encoding", "k3")), (True, "embstr"))
    payload = redis.Redis(host=HOST, port=PORT, protocol=PROTOCOL).dump("k2")
    same(r.restore("restored", 0, payload), "OK")
    same(r.get("restored"), "v")
    same((r.move("k3", 5), client(db=5).get("k3"), client(db=5).flushdb()), (1, "v", True))
    for i in range(300):
        r.set(f"scan:{i}", i)
    same(len(set(r.scan_iter("scan:*", count=17))), 300)
    same(len(r.keys("scan:1?")), 10)
    same(r.unlink(*[f"scan:{i}" for i in range(300)]), 300)
    r.rpush("to-sort", 3, 1, 2)
    same((r.sort("to-sort"), r.sort("to-sort", desc=True, start=0, num=1)), (["1", "2", "3"], ["3"]))
    r.set("gone", 1, px=30)
    time.sleep(0.1)
    same((r.get("gone"), r.exists("gone")), (None, 0))


def hashes(r):
    same(r.hset("h", mapping={"a": 1, "b": 2}), 2)
    same((r.hget("h", "a"), r.hmget("h", "a", "x"), r.hgetall("h")), ("1", ["1", None], {"a": "1", "b": "2"}))
    same((r.hincrby("h", "a", 4), r.hincrbyfloat("h", "b", 0.5)), (5, 2.5))
    same((r.hexists("h", "a"), r.hlen("h"), r.hdel("h", "b"), r.hsetnx("h", "a", 0)), (True, 2, 1, False))
    same((r.hkeys("h"), r.hvals("h"), r.hstrlen("h", "a")), (["a"], ["5"], 1))
    r.hset("big-hash", mapping={f"f{i}": i for i in range(1000)})
    same(len(dict(r.hscan_iter("big-hash"))), 1000)
    same(len(r.hrandfield("big-hash", 10)), 10)


def lists(r):
    same((r.rpush("l", "a", "b", "c"), r.lpush("l", "z")), (3, 4))
    same((r.lrange("l", 0, -1), r.lindex("l", 1), r.llen("l")), (["z", "a", "b", "c"], "a", 4))
    same((r.lpop("l"), r.rpop("l", 2), r.linsert("l", "BEFORE", "a", "y")), ("z", ["c", "b"], 2))
    same((r.lset("l", 0, "q"), r.lrem("l", 1, "a"), r.lpos("l", "q")), (True, 1, 0))
    same((r.lmove("l", "l2", "LEFT", "RIGHT"), r.rpoplpush("l2", "l"), r.exists("l2")), ("q", "q", 0))
    same(r.lmpop(2, "none", "l", direction="LEFT"), ["l", ["q"]])
    r.rpush("trim", *range(10))
    same((r.ltrim("trim", 2, 4), r.lrange("trim", 0, -1)), (True, ["2", "3", "4"]))

    def push():
        time.sleep(0.2)
        client().rpush("waited-for", "x")

    thread = threading.Thread(target=push)
    thread.start()
    same(list(r.blpop(["nothing", "waited-for"], timeout=5)), ["waited-for", "x"])
    thread.join()
    same(r.brpop("nothing", timeout=0.1), None)
    r.rpush("b", "x")
    same((r.blmove("b", "b2", 1), r.blmpop(1, 1, "b2", direction="LEFT")), ("x", ["b2", ["x"]]))


def sets(r):
    same((r.sadd("t", 1, 2, 3), r.srem("t", 3), r.scard("t")), (3, 1, 2))
    r.sadd("u", 2, 9)
    same((r.sinter("t", "u"), r.sunion("t", "u"), r.sdiff("t", "u")), ({"2"}, {"1", "2", "9"}, {"1"}))
    same((r.sinterstore("w", "t", "u"), r.sintercard(2, ["t", "u"]), r.smembers("w")), (1, 1, {"2"}))
    same((r.sismember("t", 1), r.smismember("t", 1, 7), r.smove("t", "u", 1)), (1, [1, 0], True))
    same((r.spop("w"), r.exists("w"), r.srandmember("u") in {"1", "2", "9"}), ("2", 0, True))
    r.sadd("big-set", *range(2000))
    same(len(set(r.sscan_iter("big-set"))), 2000)


def sorted_sets(r):
    same(r.zadd("z", {"a": 1, "b": 2, "c": 3}), 3)
    same(r.zadd("z", {"a": 0}, gt=True, ch=True), 0)
    same((r.zscore("z", "b"), r.zmscore("z", ["a", "x"]), r.zincrby("z", 2.5, "a")), (2.0, [1.0, None], 3.5))
    same((r.zrank("z", "b"), r.zrevrank("z", "a"), r.zcard("z"), r.zcount("z", 2, "+inf")), (0, 0, 3, 3))
    same(r.zrange("z", 0, -1), ["b", "c", "a"])
    same([(m, float(s)) for m, s in r.zrange("z", 0, 0, withscores=True)], [("b", 2.0)])
    same(r.zrange("z", "(2", "+inf", byscore=True, offset=0, num=1), ["c"])
    same((r.zrangestore("z2", "z", 0, 1), r.zcard("z2")), (2, 2))
    same([(m, float(s)) for m, s in r.zpopmin("z2", 1)], [("b", 2.0)])
    r.zadd("y", {"a": 10, "d": 1})
    same((r.zunionstore("x", ["z", "y"]), r.zscore("x", "a"), r.zinterstore("x", {"z": 2, "y": 1})), (4, 13.5, 1))
    same((r.zdiff(["z", "y"]), r.zremrangebyscore("z", 3, 3), r.zremrangebyrank("z", 0, 0)), (["b", "c"], 1, 1))
    r.zadd("lex", {"a": 0, "b": 0, "c": 0})
    same((r.zrangebylex("lex", "[b", "+"), r.zlexcount("lex", "-", "+")), (["b", "c"], 3))
    key, member, score = r.bzpopmin("lex", timeout=1)
    same((key, member, float(score)), ("lex", "a", 0.0))
    r.zadd("big-zset", {f"m{i}": i for i in range(1500)})
    same(len(dict(r.zscan_iter("big-zset"))), 1500)


def transactions(r):
    with r.pipeline(transaction=True) as pipe:
        same(pipe.set("tx", 1).incr("tx").get("tx").execute(), [True, 2, "2"])
    with r.pipeline() as pipe:
        pipe.watch("tx")
        client().set("tx", 100)
        pipe.multi()
        pipe.set("tx", 3)
        try:
            pipe.execute()
            raise AssertionError("a watched key was changed, and EXEC ran")
        except redis.WatchError:
            pass
    same(r.get("tx"), "100")
    same(r.transaction(lambda pipe: pipe.multi() or pipe.incr("tx"), "tx"), [101])
    try:
        r.lpush("tx", 1)
        raise AssertionError("a list command ran on a string")
    except redis.ResponseError as error:
        same(str(error).startswith("WRONGTYPE"), True)


def messaging(r):
    pubsub = client().pubsub()
    pubsub.subscribe("news")
    pubsub.psubscribe("new*")
    got = [pubsub.get_message(timeout=5) for _ in range(2)]
    same([m["type"] for m in got], ["subscribe", "psubscribe"])
    same(r.publish("news", "hi"), 2)
    got = sorted(pubsub.get_message(timeout=5)["type"] for _ in range(2))
    same(got, ["message", "pmessage"])
    same(("news", 1) in [tuple(n) for n in r.pubsub_numsub("news")], True)
    same((r.pubsub_channels(), r.pubsub_numpat()), (["news"], 1))
    r.config_set("notify-keyspace-events", "KEA")
    events = client().pubsub()
    events.psubscribe("__keyevent@0__:*")
    events.get_message(timeout=5)
    r.set("event", 1, px=50)
    names = [events.get_message(timeout=5)["channel"] for _ in range(3)]
    same(names, [f"__keyevent@0__:{name}" for name in ("set", "expire", "expired")])
    r.config_set("notify-keyspace-events", "")


def administration(r):
    r.slowlog_reset()
    same(r.slowlog_len() >= 0, True)
    same(r.lastsave() is not None, True)
    same(r.memory_usage("tx") > 0, True)
    same(r.swapdb(0, 7), True)
    same((r.dbsize(), r.swapdb(0, 7)), (0, True))
    same(r.flushall(), True)
    same(r.dbsize(), 0)


r = client()
r.flushall()
for group in (connection, strings, keys, hashes, lists, sets, sorted_sets, transactions, messaging, administration):
    try:
        group(r)
    except Exception:
        print(f"redis-py, RESP{PROTOCOL}: {group.__name__} failed", file=sys.stderr)
        raise
print(f"redis-py {redis.__version__}, RESP{PROTOCOL}: {checks} checks")
