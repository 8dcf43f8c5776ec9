// A real browser on the TLS port: many streams of a page and a WebSocket, over one connection of HTTP/2.

import assert from 'node:assert/strict';
import puppeteer from 'puppeteer-core';
import { checks, patienceMs, uniqueType } from './support/checks.mjs';
import { Inbox } from './support/inbox.mjs';
import { publish, streamPath } from './support/publish.mjs';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const base = process.env.SLUICEGATE_TLS_URL;
/** More than a browser opens on HTTP/1.1 for all its pages together. */
const STREAMS = 20;

/** Runs in the page: reports every message of an EventSource with its number. */
function openEventSource(number, url, type) {
  const source = new EventSource(url);
  source.addEventListener('rig.subscriptions_set', () => window.report({ number, name: 'set' }));
  source.addEventListener(type, (message) => window.report({ number, event: JSON.parse(message.data) }));
}

/** Runs in the page: reports every message of a WebSocket. */
function openWebSocket(url) {
  const socket = new WebSocket(url);
  window.socket = socket;
  socket.onmessage = (message) => window.report({ name: 'ws', event: JSON.parse(message.data) });
  socket.onclose = (close) => window.report({ name: 'close', code: close.code, clean: close.wasClean });
}

await checks('chromium over TLS', async (check) => {
  const browser = await puppeteer.launch({
    executablePath,
    acceptInsecureCerts: true,
    args: ['--no-sandbox', '--disable-quic'],
  });
  const page = await browser.newPage();
  page.setDefaultTimeout(patienceMs);
  const inbox = new Inbox();
  await page.exposeFunction('report', (message) => inbox.push(message));
  const protocols = new Map();
  const session = await page.createCDPSession();
  await session.send('Network.enable');
  session.on('Network.responseReceived', ({ response }) => {
    protocols.set(response.url, { protocol: response.protocol, connection: response.connectionId });
  });
  const type = uniqueType('chromium-tls');
  await check('a page of the port itself loads over HTTP/2', async () => {
    const response = await page.goto(`${base}/_rig/health`);
    assert.equal(response.status(), 200);
    assert.equal(protocols.get(`${base}/_rig/health`).protocol, 'h2');
  });
  await check(`${STREAMS} EventSources of a page open on one connection`, async () => {
    for (let number = 0; number < STREAMS; number += 1) {
      const url = `${base}${streamPath('sse', [{ eventType: type }], { number })}`;
      await page.evaluate(openEventSource, number, url, type);
    }
    const open = new Set();
    while (open.size < STREAMS) open.add((await inbox.next('rig.subscriptions_set')).number);
    // What the browser says of its answers comes on a way of its own, perhaps later than the page's word.
    const heads = () => [...protocols].filter(([url]) => url.includes('/sse?')).map(([, how]) => how);
    const deadline = Date.now() + patienceMs;
    while (heads().length < STREAMS && Date.now() < deadline) await new Promise((done) => setTimeout(done, 20));
    const streams = heads();
    assert.equal(streams.length, STREAMS);
    assert.ok(streams.every(({ protocol }) => protocol === 'h2'));
    assert.equal(new Set(streams.map(({ connection }) => connection)).size, 1);
  });
  await check('each gets the event', async () => {
    const sent = await publish(type, { text: 'to all' });
    const got = new Set();
    while (got.size < STREAMS) {
      const message = await inbox.next('the event');
      assert.equal(message.event.id, sent.id);
      got.add(message.number);
    }
  });
  await check('a WebSocket opens, gets an event and closes cleanly', async () => {
    const other = `${type}.ws`;
    const url = base.replace(/^http/, 'ws') + streamPath('ws', [{ eventType: other }]);
    await page.evaluate(openWebSocket, url);
    assert.equal((await inbox.next('rig.connection.create')).event.type, 'rig.connection.create');
    assert.equal((await inbox.next('rig.subscriptions_set')).event.type, 'rig.subscriptions_set');
    const sent = await publish(other, { text: 'to the socket' });
    assert.equal((await inbox.next('the event')).event.id, sent.id);
    await page.evaluate(() => window.socket.close(1000));
    assert.deepEqual(await inbox.next('the end'), { name: 'close', code: 1000, clean: true });
  });
  await browser.close();
});
