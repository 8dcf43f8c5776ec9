// npm `kafkajs`: a Kafka client that shares no code with librdkafka, as producer and as consumer.

import assert from 'node:assert/strict';
import { EventSource } from 'eventsource';
import kafkajs from 'kafkajs';
import { checks, kafkaTopic, publicUrl, uniqueType } from './support/checks.mjs';
import { Inbox } from './support/inbox.mjs';
import { kafka, readTopic } from './support/kafka.mjs';
import { cloudEvent, publish, streamPath } from './support/publish.mjs';

const { Partitioners } = kafkajs;

await checks('kafka', async (check) => {
  const type = uniqueType('kafka');
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await check('the producer connects', () => producer.connect());

  const inbox = new Inbox();
  const source = new EventSource(publicUrl + streamPath('sse', [{ eventType: type }]));
  const subscribed = new Promise((resolve) => source.addEventListener('rig.subscriptions_set', resolve));
  source.addEventListener(type, (message) => inbox.push(message.data));
  const nextEvent = async (what) => JSON.parse(await inbox.next(what));
  await check('a subscriber is there', () => subscribed);

  const send = (value, headers, key = 'alice') =>
    producer.send({ topic: kafkaTopic, messages: [{ key, value, headers }] });

  await check('an event in structured mode arrives with its bytes', async () => {
    const event = { ...cloudEvent(type, { mode: 'structured' }), unknownmember: 'kept' };
    const bytes = JSON.stringify(event).replace('"specversion":', '"specversion" : ');
    await send(bytes, { 'content-type': 'application/cloudevents+json; charset=UTF-8' });
    assert.equal(await inbox.next('the structured event'), bytes);
  });
  await check('an event in binary mode arrives with its headers as attributes', async () => {
    const event = cloudEvent(type, { mode: 'binary', n: 2 });
    await send(JSON.stringify(event.data), {
      'content-type': 'application/json',
      ce_specversion: event.specversion,
      ce_id: event.id,
      ce_source: event.source,
      ce_type: event.type,
      ce_tenant: 'blue',
    });
    assert.deepEqual(await nextEvent('the binary event'), { ...event, tenant: 'blue' });
  });
  await check('poison records are skipped and the next good one arrives', async () => {
    await send(null, {});
    await send('not json', { 'content-type': 'application/cloudevents+json' });
    await send('{"specversion":"1.0"}', { 'content-type': 'application/cloudevents+json' });
    await send('['.repeat(100_000), { 'content-type': 'application/cloudevents+json' });
    const event = cloudEvent(type, { after: 'the poison' });
    await send(JSON.stringify(event), { 'content-type': 'application/cloudevents+json' });
    assert.deepEqual(await nextEvent('the event after the poison'), event);
  });
  await check('the order of one key is kept', async () => {
    const events = Array.from({ length: 100 }, (_, n) => cloudEvent(type, { n }));
    await producer.send({
      topic: kafkaTopic,
      messages: events.map((event) => ({
        key: 'alice',
        value: JSON.stringify(event),
        headers: { 'content-type': 'application/cloudevents+json' },
      })),
    });
    for (const event of events) assert.equal((await nextEvent('an event of 100')).id, event.id);
  });
  await check('each event of a steady flow arrives once', async () => {
    // Longer than the pause between two looks at the partitions of the topic.
    const end = Date.now() + 5_000;
    const sent = [];
    while (Date.now() < end) {
      const events = Array.from({ length: 5 }, () => cloudEvent(type, { n: sent.length }));
      const headers = { 'content-type': 'application/cloudevents+json' };
      await producer.send({
        topic: kafkaTopic,
        messages: events.map((event) => ({ key: 'alice', value: JSON.stringify(event), headers })),
      });
      sent.push(...events.map((event) => event.id));
    }
    const got = [];
    while (got.at(-1) !== sent.at(-1)) got.push((await nextEvent('an event of the flow')).id);
    assert.deepEqual(got, sent);
    assert.equal(inbox.size, 0, 'nothing comes twice');
  });
  source.close();

  await check('what was published over HTTP is in the topic', async () => {
    const event = await publish(type, { over: 'http' });
    const found = await readTopic((value) => value.includes(event.id));
    assert.equal(JSON.parse(found.value).id, event.id);
  });
  await producer.disconnect();
});
