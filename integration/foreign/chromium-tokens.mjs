// A real browser shows tokens: a ticket for its EventSource, a sub-protocol for its WebSocket, a cookie; and a page
// of a foreign origin gets nothing. For an instance with keys and a list of origins.

import assert from 'node:assert/strict';
import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import puppeteer from 'puppeteer-core';
import { checks, uniqueType } from './support/checks.mjs';
import { Inbox } from './support/inbox.mjs';
import { publish, streamPath } from './support/publish.mjs';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const base = process.env.SLUICEGATE_TOKENS_URL;
const secret = process.env.SLUICEGATE_TOKENS_SECRET;
const cookie = process.env.SLUICEGATE_TOKENS_COOKIE;
/** The port of the only page that is in the list of origins. */
const ownPort = Number(process.env.SLUICEGATE_TOKENS_PAGE);

/** Signs a token that is good for an hour. */
function signed(user) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 3600;
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user, jti: randomUUID(), exp })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

async function servePage(port) {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    response.end('<!doctype html><title>Tokens in a browser</title>');
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return { server, url: `http://127.0.0.1:${server.address().port}/` };
}

/** Opens a page with an inbox for its messages, and one for the statuses with which its WebSockets are refused. */
async function openPage(browser, url) {
  const page = await browser.newPage();
  const [inbox, handshakes] = [new Inbox(), new Inbox()];
  await page.exposeFunction('report', (message) => inbox.push(message));
  page.on('console', (line) => {
    const reason = /^WebSocket connection to .* failed: (.*)/.exec(line.text())?.[1];
    if (reason?.startsWith('HTTP Authentication failed')) handshakes.push(401);
    else if (reason) handshakes.push(Number(/response code: (\d+)/.exec(reason)?.[1]));
  });
  await page.goto(url);
  return { page, inbox, handshakes };
}

/** Runs in the page: gets a ticket with a token; the status and the ticket, or the name of the error. */
async function getTicket(url, token) {
  try {
    const response = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    return { status: response.status, ...(await response.json()) };
  } catch (error) {
    return { error: error.name };
  }
}

/** Runs in the page. */
function openEventSource(url, type, withCredentials) {
  const source = new EventSource(url, { withCredentials });
  source.onerror = () => {
    window.report({ name: 'error', readyState: source.readyState });
    source.close();
  };
  source.addEventListener('rig.subscriptions_set', () => window.report({ name: 'set' }));
  source.addEventListener(type, (message) => {
    window.report({ name: 'event', event: JSON.parse(message.data) });
    source.close();
  });
}

/** Runs in the page. */
function openWebSocket(url, protocols) {
  const socket = new WebSocket(url, protocols);
  socket.onopen = () => window.report({ name: 'open', protocol: socket.protocol });
  socket.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.type === 'rig.subscriptions_set') window.report({ name: 'set' });
    if (event.type.startsWith('rig.')) return;
    window.report({ name: 'event', event });
    socket.close(1000);
  };
  socket.onclose = (close) => window.report({ name: 'close', code: close.code });
}

const tickets = `${base}/_rig/v1/tickets`;
const stream = (type, extra) => base + streamPath('sse', [{ eventType: type }], extra);
const socket = (type) => base.replace(/^http/, 'ws') + streamPath('ws', [{ eventType: type }]);
const refused = { name: 'error', readyState: 2 };

async function ownPageChecks(check, { page, inbox, handshakes }) {
  const token = signed('alice');
  const delivers = async (type) => {
    assert.deepEqual(await inbox.next('that it is subscribed'), { name: 'set' });
    const sent = await publish(type, { to: 'alice' });
    assert.deepEqual(await inbox.next('the event'), { name: 'event', event: sent });
  };
  await check('a ticket opens an EventSource, once', async () => {
    const type = uniqueType('ticket');
    const { status, ticket } = await page.evaluate(getTicket, tickets, token);
    assert.equal(status, 201);
    await page.evaluate(openEventSource, stream(type, { ticket }), type, false);
    await delivers(type);
    await page.evaluate(openEventSource, stream(type, { ticket }), type, false);
    assert.deepEqual(await inbox.next('a refusal'), refused);
  });
  await check('a WebSocket shows its token among the sub-protocols, and gets the other one', async () => {
    const type = uniqueType('protocol');
    await page.evaluate(openWebSocket, socket(type), ['cloudevents.json', `bearer.${token}`]);
    assert.deepEqual(await inbox.next('open'), { name: 'open', protocol: 'cloudevents.json' });
    await delivers(type);
    assert.deepEqual(await inbox.next('its end'), { name: 'close', code: 1000 });
  });
  await check('an EventSource shows the cookie of its page', async () => {
    const type = uniqueType('cookie');
    await page.evaluate((text) => { document.cookie = text; }, `${cookie}=${token}`);
    await page.evaluate(openEventSource, stream(type), type, true);
    await delivers(type);
    await page.evaluate(openEventSource, stream(type), type, false);
    assert.deepEqual(await inbox.next('a refusal without it'), refused);
    await page.evaluate((text) => { document.cookie = text; }, `${cookie}=; Max-Age=0`);
  });
  await check('without a token, or with a wrong one, nothing opens', async () => {
    const type = uniqueType('nobody');
    const wrong = `${token.slice(0, token.lastIndexOf('.'))}.${'A'.repeat(43)}`;
    assert.equal((await page.evaluate(getTicket, tickets, wrong)).status, 401);
    await page.evaluate(openEventSource, stream(type), type, false);
    assert.deepEqual(await inbox.next('a refusal'), refused);
    for (const protocols of [['cloudevents.json'], ['cloudevents.json', `bearer.${wrong}`]]) {
      await page.evaluate(openWebSocket, socket(type), protocols);
      assert.deepEqual(await inbox.next('a refusal'), { name: 'close', code: 1006 });
      assert.equal(await handshakes.next('its status'), 401);
    }
  });
}

async function foreignPageChecks(check, { page, inbox, handshakes }, ownPage) {
  const token = signed('alice');
  const type = uniqueType('foreign-page');
  await check('a page of a foreign origin gets no ticket, and no stream with one', async () => {
    assert.deepEqual(await page.evaluate(getTicket, tickets, token), { error: 'TypeError' });
    const { ticket } = await ownPage.evaluate(getTicket, tickets, token);
    await page.evaluate(openEventSource, stream(type, { ticket }), type, false);
    assert.deepEqual(await inbox.next('a refusal'), refused);
  });
  await check('a page of a foreign origin gets no stream with the cookie', async () => {
    await page.evaluate((text) => { document.cookie = text; }, `${cookie}=${token}`);
    await page.evaluate(openEventSource, stream(type), type, true);
    assert.deepEqual(await inbox.next('a refusal'), refused);
  });
  await check('a page of a foreign origin gets no WebSocket, with a token or the cookie', async () => {
    for (const protocols of [['cloudevents.json', `bearer.${token}`], ['cloudevents.json']]) {
      await page.evaluate(openWebSocket, socket(type), protocols);
      assert.deepEqual(await inbox.next('a refusal'), { name: 'close', code: 1006 });
      assert.equal(await handshakes.next('its status'), 403);
    }
  });
}

await checks('chromium with tokens', async (check) => {
  const browser = await puppeteer.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  const [own, foreign] = [await servePage(ownPort), await servePage(0)];
  try {
    const ownPage = await openPage(browser, own.url);
    await ownPageChecks(check, ownPage);
    await foreignPageChecks(check, await openPage(browser, foreign.url), ownPage.page);
  } finally {
    await browser.close();
    own.server.close();
    foreign.server.close();
  }
});
