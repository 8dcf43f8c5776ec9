// Reading a topic with npm `kafkajs`.

import kafkajs from 'kafkajs';
import { kafkaBroker, kafkaTopic, patienceMs, uniqueType } from './checks.mjs';

const { Kafka, logLevel } = kafkajs;

export const kafka = new Kafka({ clientId: 'foreign-clients', brokers: [kafkaBroker], logLevel: logLevel.ERROR });

/** Reads the topic from its beginning, in a group of its own, until a value satisfies `wanted`. */
export async function readTopic(wanted) {
  const consumer = kafka.consumer({ groupId: uniqueType('reader'), allowAutoTopicCreation: false });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic: kafkaTopic, fromBeginning: true });
    return await new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error('the record is not in the topic')), patienceMs * 2).unref();
      const eachMessage = async ({ partition, message }) => {
        const value = message.value?.toString() ?? '';
        if (wanted(value)) resolve({ partition, offset: message.offset, value });
      };
      consumer.run({ autoCommit: false, eachMessage }).catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
}
