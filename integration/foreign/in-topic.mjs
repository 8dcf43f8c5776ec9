// Reads the topic from its beginning, until a record holds TEXT. Use: node in-topic.mjs TEXT

import { readTopic } from './support/kafka.mjs';

const [text] = process.argv.slice(2);
if (!text) throw new Error('usage: in-topic.mjs TEXT');
const { partition, offset } = await readTopic((value) => value.includes(text));
console.log(`ok - in-topic: partition ${partition}, offset ${offset} holds it`);
process.exit(0);
