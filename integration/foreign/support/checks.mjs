// What every script shares: where Sluicegate is, and how a check is reported.

import { randomUUID } from 'node:crypto';

export const publicUrl = process.env.SLUICEGATE_URL ?? 'http://127.0.0.1:4000';
export const internalUrl = process.env.SLUICEGATE_INTERNAL_URL ?? 'http://127.0.0.1:4010';
export const kafkaBroker = process.env.KAFKA_BROKER ?? '127.0.0.1:9092';
export const kafkaTopic = process.env.KAFKA_TOPIC ?? 'rig';

/** How long any single step may take, in milliseconds. */
export const patienceMs = Number(process.env.PATIENCE_MS ?? 15_000);

/** An event type that no other run uses, so that runs do not see each other's events. */
export function uniqueType(name) {
  return `foreign.${name}.${randomUUID().slice(0, 8)}`;
}

/** Runs a script's checks in turn, one printed line each; the first that fails ends the process with 1. */
export async function checks(client, body) {
  const watchdog = setTimeout(() => {
    console.log(`not ok - ${client}: the script took longer than two minutes`);
    process.exit(1);
  }, 120_000);
  const check = async (claim, step) => {
    try {
      const result = await step();
      console.log(`ok - ${client}: ${claim}`);
      return result;
    } catch (error) {
      console.log(`not ok - ${client}: ${claim}`);
      throw error;
    }
  };
  try {
    await body(check);
    clearTimeout(watchdog);
    process.exit(0);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}
