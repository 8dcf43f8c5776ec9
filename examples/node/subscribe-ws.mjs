// Subscribes over WebSocket, changes the subscriptions on the socket, and prints what arrives.
// Use: node subscribe-ws.mjs [EVENT_TYPE] [COUNT]     ends with 0 after COUNT events (default 3), with 1 after a minute

import WebSocket from 'ws';

const base = (process.env.SLUICEGATE_URL ?? 'http://127.0.0.1:4000').replace(/^http/, 'ws');
const [eventType = 'greeting', count = '3'] = process.argv.slice(2);

// `cursors=true` adds the cursor to each event, to come back with as `last_event_id`.
const socket = new WebSocket(`${base}/_rig/v1/connection/ws?cursors=true`, 'cloudevents.json');
setTimeout(() => end(1, 'not enough events within a minute'), 60_000);

function end(status, why) {
  console.log(why);
  socket.close();
  process.exit(status);
}

let received = 0;
socket.on('message', (text) => {
  const event = JSON.parse(text);
  switch (event.type) {
    case 'rig.connection.create':
      socket.send(JSON.stringify({ type: 'rig.subscriptions_set', data: [{ eventType }] }));
      break;
    case 'rig.subscriptions_set':
      console.log('in force:', JSON.stringify(event.data));
      break;
    case 'rig.subscriptions_refused':
      end(1, `refused: ${event.data.detail}`);
      break;
    case eventType:
      console.log(event.rigcursor, JSON.stringify(event));
      received += 1;
      if (received === Number(count)) end(0, `received ${received}`);
      break;
    default:
      console.log('also:', event.type);
  }
});
socket.on('error', (error) => end(1, `failed: ${error.message}`));
socket.on('close', (code, reason) => end(1, `closed: ${code} ${reason}`));
