// Publishes over HTTP with Node's own fetch.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { internalUrl, publicUrl } from './checks.mjs';

export function cloudEvent(type, data) {
  return {
    specversion: '1.0',
    id: randomUUID(),
    source: '/foreign-clients',
    type,
    datacontenttype: 'application/json',
    data,
  };
}

/**
 * Publishes one event and returns it as Sluicegate answered it; anything but 202 rejects.
 *
 * All have one key, because the order of events holds within a partition only.
 */
export async function publish(type, data, { internal = false } = {}) {
  const event = { ...cloudEvent(type, data), partitionkey: 'foreign-clients' };
  const response = await fetch(internal ? `${internalUrl}/v3/messages` : `${publicUrl}/_rig/v1/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/cloudevents+json' },
    body: JSON.stringify(event),
    signal: AbortSignal.timeout(20_000),
  });
  const text = await response.text();
  assert.equal(response.status, 202, text);
  assert.equal(JSON.parse(text).id, event.id, 'the answer is the event');
  return event;
}

/** The path of a stream with its subscriptions, for `transport` sse, ws or longpolling. */
export function streamPath(transport, subscriptions, extra = {}) {
  const query = new URLSearchParams({ subscriptions: JSON.stringify(subscriptions), ...extra });
  return `/_rig/v1/connection/${transport}?${query}`;
}

/** Replaces the subscriptions of a connection; anything but 204 rejects. */
export async function replaceSubscriptions(transport, token, subscriptions) {
  const path = `/_rig/v1/connection/${transport}/${encodeURIComponent(token)}/subscriptions`;
  const response = await fetch(`${publicUrl}${path}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ subscriptions }),
    signal: AbortSignal.timeout(20_000),
  });
  assert.equal(response.status, 204, await response.text());
}
