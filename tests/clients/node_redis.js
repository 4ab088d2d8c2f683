// Every group of commands through node-redis: node node_redis.js HOST PORT PROTOCOL
import assert from 'node:assert/strict';
import { createClient } from 'redis';

const [host, port, protocol] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
let checks = 0;
const same = (found, wanted) => { checks += 1; assert.deepEqual(plain(found), wanted); };
// Objects without a prototype, Maps and Sets, as plain values.
const plain = (x) => {
  if (x instanceof Map) return Object.fromEntries([...x].map(([k, v]) => [k, plain(v)]));
  if (x instanceof Set) return [...x].map(plain);
  if (Array.isArray(x)) return x.map(plain);
  if (x && typeof x === 'object' && !Buffer.isBuffer(x)) return Object.fromEntries(Object.entries(x).map(([k, v]) => [k, plain(v)]));
  return x;
};

const open = async () => createClient({ RESP: protocol, socket: { host, port } }).on('error', (e) => { throw e; }).connect();
const r = await open();
await r.flushAll();

same(await r.ping(), 'PONG');
same(await r.echo('hi'), 'hi');
same(await r.clientSetName('script'), 'OK');
same(await r.clientGetName(), 'script');
assert.match(await r.info('server'), /redis_version:7/);

same(await r.set('s', 'a', { EX: 100 }), 'OK');
same((await r.ttl('s')) > 90, true);
same(await r.set('s', 'b', { NX: true }), null);
same(await r.mSet({ a: '1', b: '2' }), 'OK');
same(await r.mGet(['a', 'x', 'b']), ['1', null, '2']);
same([await r.incr('n'), await r.incrBy('n', 9), await r.append('s', 'z'), await r.getRange('s', 1, 1)], [1, 10, 2, 'z']);
same([await r.setBit('bits', 3, 1), await r.bitCount('bits')], [0, 1]);

same([await r.exists(['a', 'b', 'x']), await r.type('a'), await r.rename('a', 'a2'), await r.del('a2')], [2, 'string', 'OK', 1]);
same([await r.expire('b', 50), await r.persist('b'), await r.pTTL('b')], [1, 1, -1]);
for (let i = 0; i < 200; i += 1) await r.set(`scan:${i}`, `${i}`);
const seen = new Set();
for await (const keys of r.scanIterator({ MATCH: 'scan:*', COUNT: 10 })) keys.forEach((key) => seen.add(key));
same(seen.size, 200);

same(await r.hSet('h', { a: '1', b: '2' }), 2);
same([await r.hGet('h', 'a'), await r.hGetAll('h'), await r.hIncrBy('h', 'a', 2)], ['1', { a: '1', b: '2' }, 3]);
same([await r.hDel('h', 'b'), await r.hLen('h'), await r.hKeys('h')], [1, 1, ['a']]);

same([await r.rPush('l', ['a', 'b', 'c']), await r.lPop('l'), await r.lRange('l', 0, -1)], [3, 'a', ['b', 'c']]);
same([await r.lMove('l', 'm', 'LEFT', 'RIGHT'), await r.lLen('m'), await r.lPos('l', 'c')], ['b', 1, 0]);
const waiter = await open();
const popped = waiter.blPop('waited-for', 5);
setTimeout(() => r.rPush('waited-for', 'x'), 100);
same(await popped, { key: 'waited-for', element: 'x' });

same([await r.sAdd('t', ['1', '2', '3']), await r.sIsMember('t', '1'), await r.sCard('t')], [3, 1, 3]);
same((await r.sMembers('t')).sort(), ['1', '2', '3']);
same([await r.sAdd('u', ['3', '4']), await r.sInter(['t', 'u']), await r.sDiffStore('w', ['t', 'u'])], [2, ['3'], 2]);

same(await r.zAdd('z', [{ score: 1, value: 'a' }, { score: 2.5, value: 'b' }]), 2);
same([await r.zScore('z', 'b'), await r.zRank('z', 'b'), await r.zIncrBy('z', 1, 'a')], [2.5, 1, 2]);
same(await r.zRangeWithScores('z', 0, -1), [{ value: 'a', score: 2 }, { value: 'b', score: 2.5 }]);
same([await r.zPopMin('z'), await r.zCard('z')], [{ value: 'a', score: 2 }, 1]);
same(await r.zRangeByScore('z', '(2', '+inf'), ['b']);

same(await r.multi().set('tx', '1').incr('tx').get('tx').exec(), ['OK', 2, '2']);
await r.watch('tx');
await waiter.set('tx', '7');
await assert.rejects(r.multi().set('tx', '3').exec(), /watched keys/i);
same(await r.get('tx'), '7');
await assert.rejects(r.lPush('tx', '1'), /WRONGTYPE/);

const listener = await open();
const heard = new Promise((resolve) => { listener.subscribe('news', (message, channel) => resolve([channel, message])); });
await new Promise((resolve) => { setTimeout(resolve, 100); });
same(await r.publish('news', 'hello'), 1);
same(await heard, ['news', 'hello']);

same(await r.flushDb(), 'OK');
same(await r.dbSize(), 0);
for (const client of [r, waiter, listener]) client.destroy();
console.log(`node-redis, RESP${protocol}: ${checks} checks`);
