// A real browser: EventSource, WebSocket and fetch of headless Chromium, in a page of another origin.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { promisify } from 'node:util';
import puppeteer from 'puppeteer-core';
import { checks, internalUrl, patienceMs, publicUrl, uniqueType } from './support/checks.mjs';
import { Inbox } from './support/inbox.mjs';
import { publish, streamPath } from './support/publish.mjs';
import { Wire } from './support/wire.mjs';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Serves an empty page, so that every request to Sluicegate crosses origins. */
async function serveEmptyPage() {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    response.end('<!doctype html><title>Sluicegate in a browser</title>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${server.address().port}/` };
}

/** Runs in the page: reports every message of an EventSource through `report`. */
function openEventSource(url, names) {
  const source = new EventSource(url);
  window.source = source;
  source.onopen = () => window.report({ name: 'open' });
  source.onerror = () => window.report({ name: 'error', readyState: source.readyState });
  for (const name of names) {
    source.addEventListener(name, (message) =>
      window.report({ name, id: message.lastEventId, event: JSON.parse(message.data) }),
    );
  }
}

/** Runs in the page: reports every message of a WebSocket through `report`. */
function openWebSocket(url) {
  const socket = new WebSocket(url);
  window.socket = socket;
  socket.onmessage = (message) => window.report({ name: 'ws', event: JSON.parse(message.data) });
  socket.onclose = (close) => window.report({ name: 'close', code: close.code, clean: close.wasClean });
}

/** Runs in the page: sends a JSON body across origins, with the preflight that it needs. */
async function send(method, url, body) {
  const response = await fetch(url, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return response.status;
}

async function eventSourceChecks(check, page, inbox, wire) {
  const type = uniqueType('chromium');
  const names = ['rig.connection.create', 'rig.subscriptions_set', 'rig.resume_gap', type];
  await page.evaluate(openEventSource, wire.url + streamPath('sse', [{ eventType: type }]), names);

  await check('EventSource opens across origins and gets the control events', async () => {
    assert.equal((await inbox.next('open')).name, 'open');
    const created = await inbox.next('rig.connection.create');
    assert.equal(created.name, 'rig.connection.create');
    const set = await inbox.next('rig.subscriptions_set');
    assert.equal(set.name, 'rig.subscriptions_set');
    assert.deepEqual(set.event.data.map((one) => one.eventType), [type]);
  });
  await check('an event arrives, with its id as lastEventId', async () => {
    const sent = await publish(type, { text: 'to a browser\nin two lines' });
    const got = await inbox.next('the event');
    assert.deepEqual(got.event, sent);
    assert.notEqual(got.id, '');
  });
  const token = await check('after the stream ends, the browser sends Last-Event-ID and gets what it missed', async () => {
    await wire.requests.next('the first request');
    wire.cut();
    assert.deepEqual(await inbox.next('error'), { name: 'error', readyState: 0 }, 'it is connecting again');
    const missed = await publish(type, { while: 'away' });
    wire.mend();
    assert.match(await wire.requests.next('a reconnect', 30_000), /^last-event-id: \S+/im);
    assert.equal((await inbox.next('open')).name, 'open');
    const created = await inbox.next('rig.connection.create');
    assert.equal(created.name, 'rig.connection.create');
    assert.equal((await inbox.next('rig.subscriptions_set')).name, 'rig.subscriptions_set');
    const live = await publish(type, { again: 'live' });
    assert.equal((await inbox.next('the missed event')).event.id, missed.id);
    assert.equal((await inbox.next('the live event')).event.id, live.id);
    assert.equal(inbox.size, 0, 'nothing comes twice');
    return created.event.data.connection_token;
  });
  await check('fetch may change the subscriptions and publish (preflight)', async () => {
    const path = `/_rig/v1/connection/sse/${encodeURIComponent(token)}/subscriptions`;
    const body = { subscriptions: [{ eventType: type }, { eventType: `${type}.more` }] };
    assert.equal(await page.evaluate(send, 'PUT', publicUrl + path, body), 204);
    const set = await inbox.next('rig.subscriptions_set');
    assert.equal(set.event.data.length, 2);
    const event = { specversion: '1.0', id: 'from-a-page', source: '/page', type, data: { from: 'a page' } };
    assert.equal(await page.evaluate(send, 'POST', `${publicUrl}/_rig/v1/events`, event), 202);
    assert.equal((await inbox.next('the event')).event.id, event.id);
  });
  await page.evaluate(() => window.source.close());
}

async function webSocketChecks(check, page, inbox) {
  const type = uniqueType('chromium-ws');
  const url = publicUrl.replace(/^http/, 'ws') + streamPath('ws', [{ eventType: type }]);
  await page.evaluate(openWebSocket, url);
  await check('WebSocket gets the control events', async () => {
    assert.equal((await inbox.next('rig.connection.create')).event.type, 'rig.connection.create');
    assert.equal((await inbox.next('rig.subscriptions_set')).event.type, 'rig.subscriptions_set');
  });
  await check('an event arrives over WebSocket', async () => {
    const sent = await publish(type, { text: 'to a browser' });
    assert.deepEqual((await inbox.next('the event')).event, sent);
  });
  await check('the WebSocket closes cleanly', async () => {
    await page.evaluate(() => window.socket.close(1000));
    assert.deepEqual(await inbox.next('close'), { name: 'close', code: 1000, clean: true });
  });
}

/** The script that README.md shows under the marker `name`, for the instance under test. */
async function readmeScript(name) {
  const command = new URL('../../.ci/readme-block', import.meta.url).pathname;
  const { stdout } = await promisify(execFile)(command, [name]);
  return stdout.replaceAll('localhost:4000', new URL(publicUrl).host);
}

/** Runs what the README shows to a reader, and waits for what it promises to print. */
async function readmeChecks(check, page, url) {
  const printed = new Inbox();
  page.on('console', async (line) => printed.push(await line.args()[0]?.jsonValue()));
  const run = async (name) => {
    await page.goto(url);
    await page.addScriptTag({ content: await readmeScript(name) });
  };
  await check("the README's EventSource shows an event", async () => {
    await run('browser');
    assert.match(await printed.next('that it is subscribed'), /from here on/);
    const sent = await publish('greeting', { to: 'readers' });
    assert.deepEqual(await printed.next('the event'), sent);
  });
  await check("the README's WebSocket shows an event", async () => {
    await run('websocket');
    let event = await printed.next('rig.connection.create');
    while (event.type !== 'rig.subscriptions_set' || event.data.length === 0) {
      event = await printed.next('rig.subscriptions_set with orders.*');
    }
    const sent = await publish('orders.created', { to: 'readers' });
    const { rigcursor, ...got } = await printed.next('the event');
    assert.deepEqual(got, sent);
    assert.equal(typeof rigcursor, 'string');
  });
}

/** The page of the internal port: subscribes by itself, and publishes what stands there. */
async function tryOutChecks(check, browser) {
  await check('the page of the internal port shows what it publishes', async () => {
    const page = await browser.newPage();
    await page.goto(`${internalUrl}/?port=${new URL(publicUrl).port}`);
    const isShown = (text) => document.getElementById('log').innerText.includes(text);
    const shows = (text) => page.waitForFunction(isShown, { timeout: patienceMs }, text);
    await shows('rig.subscriptions_set');
    await page.click('#publish button');
    await shows('"source":"/page"');
  });
}

await checks('chromium', async (check) => {
  const browser = await puppeteer.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  const empty = await serveEmptyPage();
  const wire = await new Wire().open();
  const inbox = new Inbox();
  try {
    const page = await browser.newPage();
    await page.exposeFunction('report', (message) => inbox.push(message));
    await page.goto(empty.url);
    await eventSourceChecks(check, page, inbox, wire);
    await webSocketChecks(check, page, inbox);
    await readmeChecks(check, page, empty.url);
    await tryOutChecks(check, browser);
  } finally {
    await browser.close();
    wire.close();
    empty.server.close();
  }
});
