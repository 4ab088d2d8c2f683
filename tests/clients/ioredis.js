// Every group of commands through ioredis: node ioredis.js HOST PORT
import assert from 'node:assert/strict';
import Redis from 'ioredis';

const [host, port] = [process.argv[2], Number(process.argv[3])];
let checks = 0;
const same = (found, wanted) => { checks += 1; assert.deepEqual(found, wanted); };
const open = () => new Redis({ host, port });
const r = open();
await r.flushall();

same(await r.ping(), 'PONG');
same(await r.client('SETNAME', 'script'), 'OK');
same(await r.client('GETNAME'), 'script');
same(await r.set('s', 'a', 'EX', 100), 'OK');
same(await r.set('s', 'b', 'NX'), null);
same([await r.append('s', 'z'), await r.strlen('s'), await r.getdel('s')], [2, 2, 'az']);
same([await r.mset('a', 1, 'b', 2), await r.mget('a', 'x', 'b')], ['OK', ['1', null, '2']]);
same([await r.incr('n'), await r.decrby('n', 5), await r.incrbyfloat('n', 0.5)], [1, -4, '-3.5']);
same([await r.setbit('bits', 1, 1), await r.bitfield('bits', 'GET', 'u8', 0)], [0, [64]]);

same([await r.exists('a', 'b'), await r.type('a'), await r.expire('a', 10), await r.persist('a')], [2, 'string', 1, 1]);
await Promise.all([...Array(200).keys()].map((i) => r.set(`scan:${i}`, i)));
const seen = new Set();
for await (const keys of r.scanStream({ match: 'scan:*', count: 10 })) keys.forEach((key) => seen.add(key));
same(seen.size, 200);

same([await r.hset('h', { a: 1, b: 2 }), await r.hgetall('h')], [2, { a: '1', b: '2' }]);
same([await r.hincrby('h', 'a', 2), await r.hdel('h', 'b'), await r.hmget('h', 'a', 'b')], [3, 1, ['3', null]]);
same([await r.rpush('l', 1, 2, 3), await r.lrange('l', 0, -1), await r.lpop('l', 2)], [3, ['1', '2', '3'], ['1', '2']]);
same([await r.sadd('t', 1, 2), await r.smismember('t', 1, 9), await r.scard('t')], [2, [1, 0], 2]);
same([await r.zadd('z', 1, 'a', 2, 'b'), await r.zrange('z', 0, -1, 'WITHSCORES'), await r.zrank('z', 'b')], [2, ['a', '1', 'b', '2'], 1]);
same([await r.zincrby('z', 5, 'a'), await r.zrangebyscore('z', '(2', '+inf'), await r.zpopmax('z')], ['6', ['a'], ['a', '6']]);

const waiter = open();
const popped = waiter.bzpopmin('waited-for', 5);
setTimeout(() => r.zadd('waited-for', 1, 'x'), 100);
same(await popped, ['waited-for', 'x', '1']);
same(await waiter.blpop('nothing', 0.1), null);

same(await r.multi().set('tx', 1).incr('tx').exec(), [[null, 'OK'], [null, 2]]);
await r.watch('tx');
await waiter.set('tx', 7);
same(await r.multi().set('tx', 3).exec(), null);
await assert.rejects(r.lpush('tx', 1), /WRONGTYPE/);
same((await r.pipeline().get('tx').get('none').exec()).map(([, v]) => v), ['7', null]);

const listener = open();
same(await listener.subscribe('news'), 1);
same(await listener.psubscribe('n*'), 2);
const heard = new Promise((resolve) => { listener.on('message', (channel, message) => resolve([channel, message])); });
same(await r.publish('news', 'hello'), 2);
same(await heard, ['news', 'hello']);

same([await r.select(2), await r.dbsize(), await r.select(0), await r.flushdb(), await r.dbsize()], ['OK', 0, 'OK', 'OK', 0]);
for (const client of [r, waiter, listener]) client.disconnect();
console.log(`ioredis: ${checks} checks`);
