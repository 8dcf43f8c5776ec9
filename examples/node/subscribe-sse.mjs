// Subscribes over server-sent events and prints what arrives.
// Use: node subscribe-sse.mjs [EVENT_TYPE] [COUNT]     ends with 0 after COUNT events (default 3), with 1 after a minute

import { EventSource } from 'eventsource';

const base = process.env.SLUICEGATE_URL ?? 'http://127.0.0.1:4000';
const [eventType = 'greeting', count = '3'] = process.argv.slice(2);
const subscriptions = JSON.stringify([{ eventType }]);

const source = new EventSource(`${base}/_rig/v1/connection/sse?${new URLSearchParams({ subscriptions })}`);
setTimeout(() => end(1, 'not enough events within a minute'), 60_000);

function end(status, why) {
  console.log(why);
  source.close();
  process.exit(status);
}

// Whatever is published after this event is delivered.
source.addEventListener('rig.subscriptions_set', () => console.log(`subscribed to ${eventType}`));

let received = 0;
source.addEventListener(eventType, (message) => {
  // lastEventId is the cursor: after a lost connection the client sends it by itself and misses nothing.
  console.log(message.lastEventId, message.data);
  received += 1;
  if (received === Number(count)) end(0, `received ${received}`);
});

source.addEventListener('rig.resume_gap', (message) => console.log('events were lost:', message.data));
source.addEventListener('error', (error) => {
  if (source.readyState === EventSource.CLOSED) end(1, `refused: ${error.code ?? ''} ${error.message ?? ''}`);
});
