// Answers commands that clients sent over HTTP: node worker.mjs [topic]
// A route with "target":"kafka" and "response_from":"kafka" writes them to the topic; the answer reaches the client that
// waits for it by the header rig-correlation, whichever instance it waits at.
import kafkajs from 'kafkajs';

const topic = process.argv[2] ?? 'orders';
const brokers = [process.env.KAFKA_BROKER ?? '127.0.0.1:9092'];
const kafka = new kafkajs.Kafka({ clientId: 'worker', brokers, logLevel: kafkajs.logLevel.ERROR });
const consumer = kafka.consumer({ groupId: `worker-${topic}` });
const producer = kafka.producer();
await Promise.all([consumer.connect(), producer.connect()]);
await consumer.subscribe({ topic, fromBeginning: true });
await consumer.run({
  eachMessage: async ({ message }) => {
    const order = JSON.parse(message.value).data;
    const headers = { 'rig-response-code': '201', 'content-type': 'application/json' };
    headers['rig-correlation'] = message.headers['rig-correlation'];
    const answer = { headers, value: JSON.stringify({ ...order, accepted: true }) };
    await producer.send({ topic: 'rig-proxy-response', messages: [answer] });
  },
});
console.log(`answering commands from ${topic}`);
