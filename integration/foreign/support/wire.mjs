// A TCP relay that can be cut, so that a client sees its stream end and what it sends next can be read.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { Inbox } from './inbox.mjs';
import { publicUrl } from './checks.mjs';

/** A wire between clients and Sluicegate. */
export class Wire {
  /** The head of each request that opened a connection, as text. */
  requests = new Inbox();
  #server = createServer((client) => this.#accept(client));
  #pairs = new Set();
  #held = null;

  async open() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  /** Ends every stream as a server does, and holds new connections back until `mend`. */
  cut() {
    this.#held = [];
    for (const { client, server } of this.#pairs) {
      client.end();
      server.destroy();
    }
    this.#pairs.clear();
  }

  /** Lets the connections through that came since `cut`. */
  mend() {
    const held = this.#held ?? [];
    this.#held = null;
    for (const client of held) this.#join(client);
  }

  close() {
    this.cut();
    for (const client of this.#held) client.destroy();
    this.#server.close();
  }

  #accept(client) {
    client.on('error', () => client.destroy());
    if (this.#held) this.#held.push(client);
    else this.#join(client);
  }

  #join(client) {
    const { hostname, port } = new URL(publicUrl);
    const server = connect(Number(port || 80), hostname);
    const pair = { client, server };
    this.#pairs.add(pair);
    client.once('data', (head) => this.requests.push(head.toString('latin1')));
    client.pipe(server);
    server.pipe(client);
    server.on('error', () => client.destroy());
    for (const end of [client, server]) {
      end.on('close', () => {
        this.#pairs.delete(pair);
        client.destroy();
        server.destroy();
      });
    }
  }
}
