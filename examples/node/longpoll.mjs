// Polls for events, keeping the two cookies by hand; a browser does that by itself with `credentials: 'include'`.
// Use: node longpoll.mjs [EVENT_TYPE] [COUNT]     ends with 0 after COUNT events (default 3), with 1 after a minute

const base = process.env.SLUICEGATE_URL ?? 'http://127.0.0.1:4000';
const [eventType = 'greeting', count = '3'] = process.argv.slice(2);
const subscriptions = JSON.stringify([{ eventType }]);
const url = `${base}/_rig/v1/connection/longpolling?${new URLSearchParams({ subscriptions })}`;
const cookies = new Map();
const deadline = Date.now() + 60_000;

async function poll() {
  const cookie = [...cookies].map((pair) => pair.join('=')).join('; ');
  const response = await fetch(url, { headers: cookie ? { cookie } : {} });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  for (const line of response.headers.getSetCookie()) {
    const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
    cookies.set(name, value);
  }
  return response.json();
}

// The first poll starts the session and answers "ok"; each later one waits for events.
await poll();
let received = 0;
while (received < Number(count)) {
  if (Date.now() > deadline) {
    console.log('not enough events within a minute');
    process.exit(1);
  }
  const { events } = await poll();
  for (const event of events) {
    if (event.type === 'rig.subscriptions_set') console.log('in force:', JSON.stringify(event.data));
    if (event.type !== eventType) continue;
    console.log(JSON.stringify(event));
    received += 1;
  }
}
console.log(`received ${received}`);
