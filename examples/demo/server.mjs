// A backend as any team would write it: it knows Kafka and CloudEvents, and nothing of Sluicegate. Once a second it
// produces an event to the topic. It also serves the page, which talks to Sluicegate by itself.

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import kafkajs from 'kafkajs';

const { Kafka, Partitioners, logLevel } = kafkajs;

const brokers = (process.env.KAFKA_BROKERS ?? '127.0.0.1:9092').split(',');
const topic = process.env.KAFKA_TOPIC ?? 'rig';
const sluicegateUrl = process.env.SLUICEGATE_URL ?? 'http://localhost:4000';
const port = Number(process.env.PORT ?? 8080);
const intervalMs = Number(process.env.INTERVAL_MS ?? 1000);

const cities = ['Vienna', 'Graz', 'Linz'];
const types = ['orders.created', 'orders.shipped', 'greeting'];

function* orders() {
  for (let number = 1; ; number += 1) {
    const type = types[number % types.length];
    const city = cities[Math.floor(Math.random() * cities.length)];
    yield {
      type,
      subject: `customer-${city.toLowerCase()}`,
      data: type === 'greeting' ? { name: 'everyone', number } : { order: number, city },
    };
  }
}

/** The CloudEvents Kafka binding, binary mode: attributes as headers, data as the value. */
function record({ type, subject, data }) {
  return {
    key: subject,
    value: JSON.stringify(data),
    headers: {
      'content-type': 'application/json',
      ce_specversion: '1.0',
      ce_id: randomUUID(),
      ce_source: '/demo/backend',
      ce_type: type,
      ce_subject: subject,
      ce_time: new Date().toISOString(),
    },
  };
}

async function produceForever(producer) {
  for (const order of orders()) {
    try {
      await producer.send({ topic, messages: [record(order)] });
    } catch (error) {
      console.error(`could not produce, trying again: ${error.message}`);
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}

const files = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/app.js': ['app.js', 'text/javascript; charset=utf-8'],
  '/style.css': ['style.css', 'text/css; charset=utf-8'],
};

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://demo');
  if (pathname === '/config.json') {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ sluicegateUrl }));
  } else if (files[pathname]) {
    const [name, contentType] = files[pathname];
    response.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-cache' });
    response.end(await readFile(new URL(name, import.meta.url)));
  } else {
    response.writeHead(404).end();
  }
});

const kafka = new Kafka({ clientId: 'demo-backend', brokers, logLevel: logLevel.ERROR });
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => producer.disconnect().finally(() => process.exit(0)));
}

server.listen(port, () => console.log(`open http://localhost:${server.address().port}`));
await producer.connect();
console.log(`producing to topic ${topic} of ${brokers.join(', ')}, one event each ${intervalMs} ms`);
await produceForever(producer);
