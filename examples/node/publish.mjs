// Publishes events over HTTP. An answer of 202 means that Kafka has the event.
// Use: node publish.mjs [EVENT_TYPE] [COUNT]     COUNT events (default 3); INTERNAL=1 uses the internal port

import { randomUUID } from 'node:crypto';

const base = process.env.SLUICEGATE_URL ?? 'http://127.0.0.1:4000';
const internal = process.env.SLUICEGATE_INTERNAL_URL ?? 'http://127.0.0.1:4010';
const [type = 'greeting', count = '3'] = process.argv.slice(2);
const url = process.env.INTERNAL === '1' ? `${internal}/v3/messages` : `${base}/_rig/v1/events`;

for (let n = 1; n <= Number(count); n += 1) {
  const event = { specversion: '1.0', id: randomUUID(), source: '/examples/publish', type, data: { n } };
  // A 503 says "not now", or "unknown": the same event, with the same id, may be sent again.
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/cloudevents+json' },
    body: JSON.stringify(event),
  });
  const text = await response.text();
  console.log(response.status, text);
  if (response.status !== 202) process.exit(1);
}
