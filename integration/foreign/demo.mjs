// The demo as docker-compose.yml runs it: its backend produces to Kafka, its page subscribes in headless Chromium.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import puppeteer from 'puppeteer-core';
import { checks, kafkaBroker, kafkaTopic, patienceMs, publicUrl } from './support/checks.mjs';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Starts the backend on a free port and returns it with the address that it prints. */
async function startBackend() {
  const script = new URL('../../examples/demo/server.mjs', import.meta.url).pathname;
  const env = {
    ...process.env,
    KAFKA_BROKERS: kafkaBroker,
    KAFKA_TOPIC: kafkaTopic,
    SLUICEGATE_URL: publicUrl,
    PORT: '0',
    INTERVAL_MS: '100',
  };
  const backend = spawn(process.execPath, [script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(backend.stdout, 'data');
  return { backend, url: String(line).match(/http:\S+/)[0] };
}

/** Waits until the page shows `count` events, and returns their types and data. */
async function rows(page, count) {
  await page.waitForFunction((n) => document.querySelectorAll('#events tr').length >= n, { timeout: patienceMs }, count);
  return page.$$eval('#events tr', (trs) => trs.map((tr) => ({ type: tr.cells[1].innerText, data: tr.cells[3].innerText })));
}

/** Picks a subscription as a user does, waits until it is in force, and starts with an empty table. */
async function pick(page, name) {
  await page.select('#subscription', name);
  await page.waitForFunction(() => document.getElementById('in-force').innerText !== 'nothing yet', { timeout: patienceMs });
  await page.$eval('#events', (body) => body.replaceChildren());
}

await checks('demo', async (check) => {
  const { backend, url } = await startBackend();
  const browser = await puppeteer.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
  try {
    const page = await browser.newPage();
    const mistakes = [];
    page.on('pageerror', (error) => mistakes.push(error));
    await page.goto(url);
    await check('the page shows events of every type', async () => {
      const types = new Set((await rows(page, 12)).map((row) => row.type));
      assert.deepEqual([...types].sort(), ['greeting', 'orders.created', 'orders.shipped']);
    });
    await check('a type pattern selects', async () => {
      await pick(page, 'all about orders');
      for (const row of await rows(page, 6)) assert.match(row.type, /^orders\./);
    });
    await check('a constraint on the data selects', async () => {
      await pick(page, 'orders of Vienna (constraint)');
      for (const row of await rows(page, 4)) assert.equal(JSON.parse(row.data).city, 'Vienna');
    });
    await check('the button publishes, and the event comes back through Kafka', async () => {
      await pick(page, 'greetings');
      await page.click('#greet');
      const shown = () => document.getElementById('events').innerText.includes('the page');
      await page.waitForFunction(shown, { timeout: patienceMs });
    });
    await check('a refused subscription is explained', async () => {
      await page.$eval('#json', (area) => (area.value = '[{"eventType":7}]'));
      await page.click('#choice button');
      await page.waitForFunction(() => document.getElementById('problem').innerText !== '', { timeout: patienceMs });
      assert.equal(await page.$eval('#state', (state) => state.dataset.state), 'closed');
    });
    assert.deepEqual(mistakes, []);
  } finally {
    await browser.close();
    backend.kill();
  }
});
