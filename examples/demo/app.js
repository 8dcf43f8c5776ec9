// The whole client: an EventSource. The browser reconnects by itself and sends the last cursor, so nothing is missed.

const choices = {
  'all events': [{ eventType: '*' }],
  'all about orders': [{ eventType: 'orders.*' }],
  'orders shipped': [{ eventType: 'orders.shipped' }],
  'orders of Vienna (constraint)': [
    { eventType: 'orders.created', oneOf: [{ city: 'Vienna' }] },
    { eventType: 'orders.shipped', oneOf: [{ city: 'Vienna' }] },
  ],
  'customers in Graz (filter)': [{ filters: [{ suffix: { subject: 'graz' } }] }],
  'greetings': [{ eventType: 'greeting' }],
};
// An EventSource wants to know the names of the events to listen to.
const eventTypes = ['orders.created', 'orders.shipped', 'greeting'];
const rowsKept = 200;

const element = (id) => document.getElementById(id);
const { sluicegateUrl } = await (await fetch('config.json')).json();
let source = null;
let received = 0;
let reconnects = 0;

/** One subscription a line. */
function written(subscriptions) {
  return `[\n${subscriptions.map((one) => ` ${JSON.stringify(one)}`).join(',\n')}\n]`;
}

function show(state, text) {
  element('state').dataset.state = state;
  element('state').textContent = text;
}

function addRow(message) {
  const event = JSON.parse(message.data);
  const cells = [new Date().toLocaleTimeString(), event.type, event.subject ?? '', JSON.stringify(event.data)];
  const row = element('events').insertRow(0);
  row.className = 'new';
  for (const text of cells) row.insertCell().textContent = text;
  while (element('events').rows.length > rowsKept) element('events').deleteRow(-1);
  received += 1;
  element('count').textContent = received;
  element('cursor').textContent = message.lastEventId;
  element('empty').hidden = true;
}

// An EventSource does not tell why it was refused; the same request by fetch does.
async function explain(url) {
  const stop = new AbortController();
  try {
    const response = await fetch(url, { signal: stop.signal });
    if (response.ok) return;
    const problem = await response.json();
    element('problem').textContent = problem.detail ?? problem.title;
  } catch {
    element('problem').textContent = `${sluicegateUrl} does not answer`;
  } finally {
    stop.abort();
  }
}

function subscribe(subscriptions) {
  source?.close();
  element('problem').textContent = '';
  element('in-force').textContent = 'nothing yet';
  element('events').replaceChildren();
  element('empty').hidden = false;
  show('connecting', 'connecting');
  const url = `${sluicegateUrl}/_rig/v1/connection/sse?${new URLSearchParams({ subscriptions })}`;
  const opened = new EventSource(url);
  source = opened;
  opened.onopen = () => show('open', 'connected');
  opened.onerror = () => {
    if (opened.readyState === EventSource.CLOSED) {
      show('closed', 'refused');
      element('in-force').textContent = 'nothing';
      explain(url);
    } else {
      reconnects += 1;
      element('reconnects').textContent = reconnects;
      show('connecting', 'reconnecting');
    }
  };
  // From this event on, whatever matches is delivered.
  opened.addEventListener('rig.subscriptions_set', (message) => {
    element('in-force').textContent = JSON.stringify(JSON.parse(message.data).data);
  });
  opened.addEventListener('rig.resume_gap', () => {
    element('problem').textContent = 'Some events are no longer kept: reload what the page shows.';
  });
  for (const type of eventTypes) opened.addEventListener(type, addRow);
}

async function greet() {
  const event = {
    specversion: '1.0',
    id: crypto.randomUUID?.() ?? String(Math.random()),
    source: '/demo/page',
    type: 'greeting',
    subject: 'page',
    data: { name: 'the page' },
  };
  const headers = { 'content-type': 'application/cloudevents+json' };
  try {
    const response = await fetch(`${sluicegateUrl}/_rig/v1/events`, { method: 'POST', headers, body: JSON.stringify(event) });
    element('problem').textContent = response.status === 202 ? '' : ((await response.json()).detail ?? response.statusText);
  } catch {
    element('problem').textContent = `${sluicegateUrl} does not answer`;
  }
}

for (const name of Object.keys(choices)) element('subscription').add(new Option(name));
element('subscription').addEventListener('change', (change) => {
  element('json').value = written(choices[change.target.value]);
  subscribe(JSON.stringify(choices[change.target.value]));
});
element('choice').addEventListener('submit', (submit) => {
  submit.preventDefault();
  subscribe(element('json').value);
});
element('greet').addEventListener('click', greet);
element('subscription').dispatchEvent(new Event('change'));
