// npm `ws`: the WebSocket that Node programs use.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import WebSocket from 'ws';
import { checks, publicUrl, uniqueType } from './support/checks.mjs';
import { Inbox } from './support/inbox.mjs';
import { publish, streamPath } from './support/publish.mjs';

const base = publicUrl.replace(/^http/, 'ws');

function connect(path, protocols) {
  const inbox = new Inbox();
  const socket = new WebSocket(base + path, protocols);
  socket.on('message', (data, isBinary) => {
    assert.equal(isBinary, false, 'events are text frames');
    inbox.push(JSON.parse(data));
  });
  return { socket, inbox };
}

await checks('ws', async (check) => {
  const type = uniqueType('ws');
  const { socket, inbox } = connect(streamPath('ws', [{ eventType: type }], { cursors: 'true' }), 'cloudevents.json');

  await check('the handshake picks the sub-protocol cloudevents.json', async () => {
    await once(socket, 'open');
    assert.equal(socket.protocol, 'cloudevents.json');
  });
  await check('rig.connection.create and rig.subscriptions_set come first', async () => {
    const created = await inbox.next('rig.connection.create');
    assert.equal(created.type, 'rig.connection.create');
    assert.equal(typeof created.data.connection_token, 'string');
    const set = await inbox.next('rig.subscriptions_set');
    assert.equal(set.type, 'rig.subscriptions_set');
    assert.deepEqual(set.data.map((one) => one.eventType), [type]);
  });
  const cursor = await check('an event arrives with its cursor', async () => {
    const sent = await publish(type, { text: 'over a socket' });
    const { rigcursor, ...event } = await inbox.next('the event');
    assert.deepEqual(event, sent);
    assert.equal(typeof rigcursor, 'string');
    return rigcursor;
  });
  await check('a ping is answered by one pong with the same bytes', async () => {
    const pong = once(socket, 'pong');
    socket.ping('abc');
    assert.equal(String((await pong)[0]), 'abc');
  });
  await check('the client changes its subscriptions on the socket', async () => {
    const other = `${type}.other`;
    socket.send(JSON.stringify({ type: 'rig.subscriptions_set', data: [{ eventType: other }] }));
    const set = await inbox.next('rig.subscriptions_set');
    assert.equal(set.type, 'rig.subscriptions_set');
    assert.deepEqual(set.data.map((one) => one.eventType), [other]);
    await publish(type, { wanted: false });
    const sent = await publish(other, { wanted: true });
    assert.equal((await inbox.next('the event')).id, sent.id);
  });
  await check('a refused change says why and leaves the connection open', async () => {
    socket.send(JSON.stringify({ type: 'rig.subscriptions_set', data: [{ eventType: 7 }] }));
    const refused = await inbox.next('rig.subscriptions_refused');
    assert.equal(refused.type, 'rig.subscriptions_refused');
    assert.equal(refused.data.status, 400);
    assert.equal(socket.readyState, WebSocket.OPEN);
  });
  await check('a closing handshake ends cleanly', async () => {
    const closed = once(socket, 'close');
    socket.close(1000, 'done');
    assert.equal((await closed)[0], 1000);
  });
  await check('a new socket resumes from the cursor', async () => {
    const missed = await publish(type, { text: 'while away' });
    const again = connect(streamPath('ws', [{ eventType: type }], { last_event_id: cursor }));
    const seen = [];
    while (seen.at(-1) !== missed.id) {
      const event = await again.inbox.next('the missed event');
      if (event.type === type) seen.push(event.id);
    }
    assert.equal(seen.length, 2, 'what came after the cursor, and nothing before it');
    again.socket.terminate();
  });
});
