// The request proxy between Node on both sides (fetch, node:http, node:http2, npm `ws`), and with curl and Go as clients.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import WebSocket, { WebSocketServer } from 'ws';
import { checks, internalUrl, publicUrl } from './support/checks.mjs';
import { Inbox } from './support/inbox.mjs';

const run = promisify(execFile);
const prefix = '/foreign-node';
const base = publicUrl + prefix;
const tls = process.env.SLUICEGATE_TLS_URL;
const ca = process.env.SLUICEGATE_CA;
const sum = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** What became of requests whose clients left. */
const left = new Inbox();
/** Says when the next event is to be sent. */
const words = new Inbox();

/** Answers with what it got: the head as JSON in `x-got`, and the body as it comes. */
function echo(request, response) {
  const got = { method: request.method, url: request.url, headers: request.headersDistinct, http: request.httpVersion };
  response.writeHead(200, { 'x-got': JSON.stringify(got), 'content-type': request.headers['content-type'] ?? 'text/plain' });
  request.pipe(response);
}

const routes = {
  '/echo': echo,
  '/events': async (request, response) => {
    response.on('close', () => {
      left.push('/events');
      words.push(null);
    });
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    for (let word = await words.next('a word'); word !== null; word = await words.next('a word')) {
      response.write(`data: ${word}\n\n`);
    }
  },
  '/silent': (request, response) => response.on('close', () => left.push('/silent')),
  '/break': (request, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('half', () => response.destroy());
  },
  '/empty': (request, response) => response.writeHead(204).end(),
  '/cookies': (request, response) => response.writeHead(200, { 'set-cookie': ['a=1', 'b=2'], trailer: 'x-sum' }).end('ok'),
};

const server = http.createServer((request, response) => {
  const path = new URL(request.url, 'http://backend').pathname.slice(prefix.length);
  (routes[path] ?? ((_, other) => other.writeHead(404).end(`no ${request.url}`)))(request, response);
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');

const closed = new Inbox();
const sockets = new WebSocketServer({ server, handleProtocols: (offered) => [...offered].at(-1) });
sockets.on('connection', (socket, request) => {
  socket.send(`welcome to ${request.url}`);
  socket.on('message', (data, binary) => (String(data) === 'go' ? socket.close(4001, 'gone') : socket.send(data, { binary })));
  socket.on('close', (code, reason) => closed.push(`${code} ${reason}`));
});

async function define() {
  const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'];
  const endpoints = methods.map((method) => ({ id: method, method, path_regex: `${prefix}/.*` }));
  const proxy = { target_url: 'http://127.0.0.1', port: server.address().port };
  const api = { id: 'foreign-node', name: 'foreign-node', version_data: { default: { endpoints } }, proxy };
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${internalUrl}/v3/apis`, { method: 'POST', headers, body: JSON.stringify(api) });
  assert.equal(answer.status, 201, await answer.text());
}

/** Runs curl and returns what it printed; the last line is the version and the status. */
async function curl(...options) {
  const write = ['-w', '\n%{http_version} %{http_code}'];
  const { stdout } = await run('curl', ['-sS', '-m', '30', '--cacert', ca, ...write, ...options], { maxBuffer: 1 << 28, encoding: 'latin1' });
  const at = stdout.lastIndexOf('\n');
  return [stdout.slice(0, at), stdout.slice(at + 1)];
}

const hasHttp2 = (await run('curl', ['--version'])).stdout.includes('HTTP2');

await checks('proxy', async (check) => {
  await check('an API is defined while everything runs', define);
  const body = randomBytes(3_000_000);

  await check('fetch: every method, with and without a body', async () => {
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
      const withBody = method !== 'GET' && method !== 'HEAD';
      const target = '/echo?a=1&a=2&b=%20%2B+&c';
      const answer = await fetch(base + target, { method, body: withBody ? body : undefined, headers: { 'X-Custom': 'ä' } });
      const bytes = Buffer.from(await answer.arrayBuffer());
      assert.equal(answer.status, 200, method);
      const got = JSON.parse(answer.headers.get('x-got'));
      assert.deepEqual([got.method, got.url], [method, prefix + target]);
      assert.deepEqual(got.headers['x-forwarded-for'], ['127.0.0.1']);
      assert.deepEqual(got.headers.host, [`127.0.0.1:${server.address().port}`]);
      assert.equal(got.headers.connection, undefined, 'kept alive, and nothing of ours');
      if (withBody) assert.equal(sum(bytes), sum(body), method);
    }
  });
  await check('fetch: a stream up, a form, and an answer without a body', async () => {
    const pieces = new ReadableStream({
      async pull(controller) {
        this.sent = (this.sent ?? 0) + 1;
        this.sent <= 20 ? controller.enqueue(new Uint8Array(100_000).fill(this.sent)) : controller.close();
      },
    });
    const up = await fetch(`${base}/echo`, { method: 'POST', body: pieces, duplex: 'half' });
    assert.equal((await up.arrayBuffer()).byteLength, 2_000_000);
    assert.deepEqual(JSON.parse(up.headers.get('x-got')).headers['transfer-encoding'], ['chunked']);
    const form = new FormData();
    form.append('file', new Blob([body.subarray(0, 50_000)]), 'ü.bin');
    const echoed = await (await fetch(`${base}/echo`, { method: 'POST', body: form })).formData();
    assert.equal(sum(Buffer.from(await echoed.get('file').arrayBuffer())), sum(body.subarray(0, 50_000)));
    const empty = await fetch(`${base}/empty`, { method: 'DELETE' });
    assert.deepEqual([empty.status, await empty.text()], [204, '']);
    assert.deepEqual((await fetch(`${base}/cookies`)).headers.getSetCookie(), ['a=1', 'b=2']);
  });
  await check('fetch: events come one by one, and the backend hears that the client left', async () => {
    const controller = new AbortController();
    const answer = await fetch(`${base}/events`, { signal: controller.signal });
    const reader = answer.body.getReader();
    for (const word of ['one', 'two']) {
      words.push(word);
      assert.equal(Buffer.from((await reader.read()).value).toString(), `data: ${word}\n\n`);
    }
    controller.abort();
    assert.equal(await left.next('the end'), '/events');
  });
  await check('fetch: a request without an answer ends with its client', async () => {
    const controller = new AbortController();
    const asking = fetch(`${base}/silent`, { signal: controller.signal }).catch((error) => error.name);
    setTimeout(() => controller.abort(), 200);
    assert.equal(await asking, 'AbortError');
    assert.equal(await left.next('the end'), '/silent');
  });
  await check('fetch: half an answer is an error', async () => {
    const answer = await fetch(`${base}/break`);
    await assert.rejects(answer.arrayBuffer());
  });

  await check('node:http: a hundred requests on one connection, and one that waits for 100 Continue', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const send = (options, content) => new Promise((done, failed) => {
      const request = http.request(`${base}/echo`, { agent, method: 'POST', ...options }, async (response) => {
        const bytes = [];
        for await (const piece of response) bytes.push(piece);
        done({ reused: request.reusedSocket, bytes: Buffer.concat(bytes) });
      });
      request.on('error', failed);
      if (options.headers?.expect) request.on('continue', () => request.end(content)).flushHeaders();
      else request.end(content);
    });
    for (let number = 0; number < 100; number += 1) {
      const { reused, bytes } = await send({ headers: { 'content-length': 3 } }, 'abc');
      assert.deepEqual([String(bytes), reused], ['abc', number > 0]);
    }
    const { bytes } = await send({ headers: { expect: '100-continue', 'content-length': body.length } }, body);
    assert.equal(sum(bytes), sum(body));
    agent.destroy();
  });
  await check('node:http2: many requests beside each other over TLS', async () => {
    const session = http2.connect(tls, { ca: readFileSync(ca), maxSessionMemory: 100 });
    const send = async () => {
      const stream = session.request({ ':method': 'POST', ':path': `${prefix}/echo` });
      stream.end(body.subarray(0, 300_000));
      const bytes = [];
      for await (const piece of stream) bytes.push(piece);
      assert.equal(sum(Buffer.concat(bytes)), sum(body.subarray(0, 300_000)));
    };
    await Promise.all(Array.from({ length: 50 }, send));
    session.close();
  });

  for (const [name, url] of [['ws', publicUrl], ['wss', tls]]) {
    await check(`npm ws: a WebSocket in both directions (${name})`, async () => {
      const open = async () => {
        const socket = new WebSocket(`${url.replace(/^http/, 'ws')}${prefix}/chat?a=%20`, ['one', 'two'], { ca: readFileSync(ca) });
        const inbox = new Inbox();
        socket.on('message', (data, binary) => inbox.push(binary ? data : String(data)));
        assert.equal(await inbox.next('a welcome'), `welcome to ${prefix}/chat?a=%20`);
        return { socket, inbox };
      };
      const { socket, inbox } = await open();
      assert.equal(socket.protocol, 'two');
      for (const message of ['text', body.subarray(0, 200_000)]) {
        socket.send(message);
        assert.deepEqual(await inbox.next('an echo'), message);
      }
      socket.send('go');
      const [code, reason] = await once(socket, 'close');
      assert.deepEqual([code, String(reason)], [4001, 'gone']);
      assert.equal(await closed.next('a close'), '4001 gone');
      const other = await open();
      other.socket.close(3009, 'bye');
      assert.equal(await closed.next('a close'), '3009 bye');
    });
  }

  const folder = mkdtempSync(join(tmpdir(), 'foreign-'));
  const file = join(folder, 'body');
  writeFileSync(file, body);
  const ways = [['1.1', ['--http1.1'], publicUrl], ['1.1', ['--http1.1'], tls]];
  if (hasHttp2) ways.push(['2', ['--http2'], tls], ['2', ['--http2-prior-knowledge'], publicUrl]);
  for (const [version, options, url] of ways) {
    await check(`curl: uploads, with and without Expect and a length (HTTP/${version} at ${url})`, async () => {
      for (const more of [['-T', file], ['-T', file, '-H', 'expect: 100-continue'], ['-T', file, '-H', 'content-length:', '-H', 'transfer-encoding: chunked'], ['--data-binary', `@${file}`, '-H', 'expect:']]) {
        if (version === '2' && more.includes('transfer-encoding: chunked')) continue;
        const [echoed, told] = await curl(...options, ...more, `${url}${prefix}/echo`);
        assert.equal(told, `${version} 200`, more.join(' '));
        assert.equal(sum(Buffer.from(echoed, 'latin1')), sum(body), more.join(' '));
      }
    });
    await check(`curl: paths as they are (HTTP/${version} at ${url})`, async () => {
      for (const [path, status] of [['/a/../echo', 400], ['/%2e%2e/echo', 400], ['/a%2fb', 400], ['/a//b', 404], ['/a;b', 404], ['/echo?x=../y', 200]]) {
        const [text, told] = await curl(...options, '--path-as-is', `${url}${prefix}${path}`);
        assert.equal(told, `${version} ${status}`, path);
        if (status === 404) assert.equal(text, `no ${prefix}${path}`);
      }
    });
  }
  await check('curl: an answer that breaks off, and one that is not there', async () => {
    // 18: partial file; 92: a stream of HTTP/2 was not closed cleanly.
    await assert.rejects(curl('--http1.1', `${base}/break`), { code: 18 });
    if (hasHttp2) await assert.rejects(curl('--http2-prior-knowledge', `${base}/break`), { code: 92 });
    assert.deepEqual((await curl('-I', `${base}/nothing`))[1], '1.1 404');
  });
  rmSync(folder, { recursive: true });

  const goVersion = await run('go', ['env', 'GOVERSION']).then(({ stdout }) => Number(stdout.match(/^go1\.(\d+)/)?.[1]), () => 0);
  if (!(goVersion >= 24)) {
    console.log('skipped: proxy (no Go 1.24)');
    assert.equal(process.env.FOREIGN_REQUIRE_ALL ?? '0', '0', 'nothing is skipped');
  } else {
    const go = spawn('go', ['run', 'go/proxy.go'], { stdio: 'inherit', env: { ...process.env, GO111MODULE: 'off' } });
    assert.equal((await once(go, 'exit'))[0], 0, 'the checks of Go');
  }
});
