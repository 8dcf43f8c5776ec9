// Long polling with Node's fetch and cookies kept by hand, as an old client does.

import assert from 'node:assert/strict';
import { checks, publicUrl, uniqueType } from './support/checks.mjs';
import { publish, streamPath } from './support/publish.mjs';

/** A client that keeps cookies as a browser would. */
class Poller {
  cookies = new Map();

  constructor(path) {
    this.url = publicUrl + path;
  }

  async poll() {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(this.url, {
      headers: cookie ? { cookie } : {},
      signal: AbortSignal.timeout(60_000),
    });
    for (const line of response.headers.getSetCookie()) {
      const [pair] = line.split(';');
      const at = pair.indexOf('=');
      this.cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    return { response, body: await response.json() };
  }
}

await checks('longpoll', async (check) => {
  const type = uniqueType('longpoll');
  const poller = new Poller(streamPath('longpolling', [{ eventType: type }]));

  await check('the first poll answers "ok" and sets both cookies', async () => {
    const { response, body } = await poller.poll();
    assert.equal(response.status, 200);
    assert.equal(body, 'ok');
    assert.match(response.headers.get('cache-control') ?? '', /no-cache|no-store/);
    assert.deepEqual([...poller.cookies.keys()].sort(), ['connection_token', 'last_event_id']);
  });
  await check('the second poll returns the two control events', async () => {
    const { body } = await poller.poll();
    assert.deepEqual(body.events.map((event) => event.type), ['rig.connection.create', 'rig.subscriptions_set']);
    assert.equal(typeof body.last_event_id, 'string');
  });
  await check('an event published before the poll is returned', async () => {
    const sent = await publish(type, { n: 1 });
    const { body } = await poller.poll();
    assert.deepEqual(body.events, [sent]);
  });
  await check('an event that arrives during a poll ends the poll', async () => {
    const waiting = poller.poll();
    const sent = await publish(type, { n: 2 });
    const { body } = await waiting;
    assert.deepEqual(body.events, [sent]);
  });
  await check('a repeated poll with the cookies of before returns the same events', async () => {
    const before = new Map(poller.cookies);
    const sent = await publish(type, { n: 3 });
    assert.deepEqual((await poller.poll()).body.events, [sent]);
    poller.cookies = before;
    assert.deepEqual((await poller.poll()).body.events, [sent], 'a lost answer loses no event');
  });
});
