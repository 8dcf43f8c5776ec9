// Answers commands that clients sent over HTTP.
// Use: node worker.mjs [TOPIC]     KAFKA_BROKERS (127.0.0.1:9092). Runs until it is stopped
// A route with "target":"kafka" and "response_from":"kafka" writes them to the topic. The header rig-correlation brings the
// answer to the client that waits, at whichever instance.
import kafkajs from 'kafkajs';

const [topic = 'orders'] = process.argv.slice(2);
const brokers = (process.env.KAFKA_BROKERS ?? '127.0.0.1:9092').split(',');
const kafka = new kafkajs.Kafka({ clientId: 'worker', brokers, logLevel: kafkajs.logLevel.ERROR });
const consumer = kafka.consumer({ groupId: `worker-${topic}` });
const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
await Promise.all([consumer.connect(), producer.connect()]);
await consumer.subscribe({ topic, fromBeginning: true });
await consumer.run({
  eachMessage: async ({ message }) => {
    const correlation = message.headers['rig-correlation'];
    if (!correlation) return; // nobody waits
    const order = JSON.parse(message.value).data;
    const headers = { 'rig-correlation': correlation, 'rig-response-code': '201', 'content-type': 'application/json' };
    const answer = { headers, value: JSON.stringify({ ...order, accepted: true }) };
    await producer.send({ topic: 'rig-proxy-response', messages: [answer] });
  },
});
console.log(`answering commands from ${topic}`);
