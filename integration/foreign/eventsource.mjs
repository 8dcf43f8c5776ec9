// npm `eventsource`: the EventSource that Node programs use.

import assert from 'node:assert/strict';
import { EventSource } from 'eventsource';
import { checks, uniqueType } from './support/checks.mjs';
import { Inbox } from './support/inbox.mjs';
import { publish, replaceSubscriptions, streamPath } from './support/publish.mjs';
import { Wire } from './support/wire.mjs';

await checks('eventsource', async (check) => {
  const type = uniqueType('eventsource');
  const otherType = `${type}.other`;
  const wire = await new Wire().open();
  const inbox = new Inbox();
  const source = new EventSource(wire.url + streamPath('sse', [{ eventType: type }]));
  const listen = (name) =>
    source.addEventListener(name, (message) =>
      inbox.push({ name, id: message.lastEventId, event: JSON.parse(message.data) }),
    );
  for (const name of ['rig.connection.create', 'rig.subscriptions_set', 'rig.resume_gap', type, otherType]) {
    listen(name);
  }

  const token = await check('rig.connection.create comes first, with a token', async () => {
    const first = await inbox.next('rig.connection.create');
    assert.equal(first.name, 'rig.connection.create');
    assert.equal(first.event.type, 'rig.connection.create');
    assert.equal(first.event.source, 'rig');
    assert.equal(typeof first.event.data.connection_token, 'string');
    return first.event.data.connection_token;
  });
  await check('rig.subscriptions_set names the subscription', async () => {
    const second = await inbox.next('rig.subscriptions_set');
    assert.equal(second.name, 'rig.subscriptions_set');
    assert.deepEqual(second.event.data.map((one) => one.eventType), [type]);
  });
  await check('an event arrives, and one of another type does not', async () => {
    await publish(otherType, { wanted: false });
    const sent = await publish(type, { text: 'two\nlines, ünïcode' });
    const got = await inbox.next('the published event');
    assert.deepEqual(got.event, sent);
    assert.notEqual(got.id, '', 'the id: field is there');
  });
  await check('after the stream ends, the client resumes and gets what it missed, once', async () => {
    await wire.requests.next('the first request');
    wire.cut();
    const missed = [await publish(type, { n: 1 }), await publish(type, { n: 2 })];
    wire.mend();
    const request = await wire.requests.next('a reconnect');
    assert.match(request, /^last-event-id: \S+/im, 'Last-Event-ID is sent');
    assert.equal((await inbox.next('rig.connection.create')).name, 'rig.connection.create');
    assert.equal((await inbox.next('rig.subscriptions_set')).name, 'rig.subscriptions_set');
    const live = await publish(type, { n: 3 });
    for (const expected of [...missed, live]) {
      assert.equal((await inbox.next('a missed event')).event.id, expected.id);
    }
    assert.equal(inbox.size, 0, 'nothing comes twice');
  });
  await check('a change by PUT is in force and announced', async () => {
    await assert.rejects(replaceSubscriptions('sse', `${token}x`, []), 'a changed token is refused');
    const source2 = new EventSource(wire.url + streamPath('sse', []));
    const created = new Promise((resolve) => source2.addEventListener('rig.connection.create', resolve));
    const fresh = JSON.parse((await created).data).data.connection_token;
    const second = new Inbox();
    for (const name of ['rig.subscriptions_set', otherType]) {
      source2.addEventListener(name, (message) => second.push(JSON.parse(message.data)));
    }
    await replaceSubscriptions('sse', fresh, [{ eventType: otherType }]);
    const sent = await publish(otherType, { wanted: true });
    let got = await second.next('rig.subscriptions_set or the event');
    while (got.type === 'rig.subscriptions_set') got = await second.next('the event');
    assert.deepEqual(got, sent);
    source2.close();
  });
  source.close();
  wire.close();
});
