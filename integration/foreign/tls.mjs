// TLS and HTTP/2 as Node speaks them: node:https, node:http2, and npm `ws` over TLS.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import WebSocket from 'ws';
import { checks, patienceMs, uniqueType } from './support/checks.mjs';
import { Inbox } from './support/inbox.mjs';
import { cloudEvent, publish, streamPath } from './support/publish.mjs';

const base = process.env.SLUICEGATE_TLS_URL;
const plain = process.env.SLUICEGATE_URL;
const ca = readFileSync(process.env.SLUICEGATE_CA);

/** Pushes each event of an event stream to an inbox. */
function readEvents(stream) {
  const inbox = new Inbox();
  let unread = '';
  stream.setEncoding('utf8');
  stream.on('data', (text) => {
    const blocks = (unread + text).split('\n\n');
    unread = blocks.pop();
    for (const block of blocks) {
      const field = (name) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
      if (field('data')) inbox.push({ id: field('id'), event: JSON.parse(field('data')) });
    }
  });
  return inbox;
}

async function subscribed(inbox) {
  assert.equal((await inbox.next('the first event')).event.type, 'rig.connection.create');
  assert.equal((await inbox.next('the second event')).event.type, 'rig.subscriptions_set');
}

async function respond(session, headers, body) {
  const request = session.request(headers);
  const response = once(request, 'response', { signal: AbortSignal.timeout(patienceMs) });
  request.end(body);
  const [head] = await response;
  return { head, request };
}

await checks('https', async (check) => {
  const type = uniqueType('https');
  const path = streamPath('sse', [{ eventType: type }]);
  await check('a stream over HTTP/1.1 and TLS delivers', async () => {
    const request = https.get(base + path, { ca });
    const [response] = await once(request, 'response', { signal: AbortSignal.timeout(patienceMs) });
    assert.equal(response.statusCode, 200);
    const inbox = readEvents(response);
    await subscribed(inbox);
    const sent = await publish(type, { over: 'tls' });
    assert.deepEqual((await inbox.next('the event')).event, sent);
    request.destroy();
  });
  await check('wss opens, delivers and closes', async () => {
    const url = base.replace(/^http/, 'ws') + streamPath('ws', [{ eventType: type }]);
    const socket = new WebSocket(url, { ca });
    const inbox = new Inbox();
    socket.on('message', (data) => inbox.push({ event: JSON.parse(data) }));
    await subscribed(inbox);
    const sent = await publish(type, { over: 'wss' });
    assert.deepEqual((await inbox.next('the event')).event, sent);
    const closed = once(socket, 'close');
    socket.close(1000);
    assert.equal((await closed)[0], 1000);
  });
  for (const [name, url, options] of [
    ['HTTP/2 over TLS', base, { ca }],
    ['HTTP/2 with prior knowledge', plain, {}],
  ]) {
    await check(`${name}: twenty streams and a submission share a connection`, async () => {
      const session = http2.connect(url, options);
      const inboxes = await Promise.all(
        Array.from({ length: 20 }, async () => {
          const { head, request } = await respond(session, { ':path': path });
          assert.equal(head[':status'], 200);
          assert.equal(head['content-type'], 'text/event-stream; charset=utf-8');
          const inbox = readEvents(request);
          await subscribed(inbox);
          return inbox;
        }),
      );
      const event = cloudEvent(type, { over: name });
      const headers = { ':path': '/_rig/v1/events', ':method': 'POST', 'content-type': 'application/cloudevents+json' };
      const { head } = await respond(session, headers, JSON.stringify(event));
      assert.equal(head[':status'], 202);
      for (const inbox of inboxes) assert.equal((await inbox.next('the event')).event.id, event.id);
      session.destroy();
    });
  }
  await check('a WebSocket opens over HTTP/2 (RFC 8441)', async () => {
    const session = http2.connect(base, { ca });
    const [settings] = await once(session, 'remoteSettings', { signal: AbortSignal.timeout(patienceMs) });
    assert.equal(settings.enableConnectProtocol, true);
    const { head, request } = await new Promise((done, failed) => {
      const stream = session.request(
        {
          ':method': 'CONNECT',
          ':protocol': 'websocket',
          ':path': streamPath('ws', [{ eventType: type }]),
          'sec-websocket-version': '13',
          'sec-websocket-protocol': 'cloudevents.json',
        },
        { endStream: false },
      );
      stream.once('response', (responded) => done({ head: responded, request: stream }));
      stream.once('error', failed);
    });
    assert.equal(head[':status'], 200);
    assert.equal(head['sec-websocket-protocol'], 'cloudevents.json');
    const [frame] = await once(request, 'data', { signal: AbortSignal.timeout(patienceMs) });
    assert.equal(frame[0], 0x81, 'a text frame, not masked');
    session.destroy();
  });
});
