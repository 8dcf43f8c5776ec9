// Produces events to the topic with a Kafka client, as backends do: one in each mode of the CloudEvents Kafka binding.
// Use: node produce-to-kafka.mjs [EVENT_TYPE]     KAFKA_BROKERS (127.0.0.1:9092), KAFKA_TOPIC (rig)

import { randomUUID } from 'node:crypto';
import kafkajs from 'kafkajs';

const { Kafka, Partitioners, logLevel } = kafkajs;
const brokers = (process.env.KAFKA_BROKERS ?? '127.0.0.1:9092').split(',');
const topic = process.env.KAFKA_TOPIC ?? 'rig';
const [type = 'greeting'] = process.argv.slice(2);

const structured = {
  key: 'alice',
  headers: { 'content-type': 'application/cloudevents+json; charset=UTF-8' },
  value: JSON.stringify({ specversion: '1.0', id: randomUUID(), source: '/examples', type, data: { mode: 'structured' } }),
};
const binary = {
  key: 'alice',
  headers: {
    'content-type': 'application/json',
    ce_specversion: '1.0',
    ce_id: randomUUID(),
    ce_source: '/examples',
    ce_type: type,
  },
  value: JSON.stringify({ mode: 'binary' }),
};

const kafka = new Kafka({ clientId: 'examples', brokers, logLevel: logLevel.ERROR });
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
await producer.connect();
console.log(await producer.send({ topic, messages: [structured, binary] }));
await producer.disconnect();
