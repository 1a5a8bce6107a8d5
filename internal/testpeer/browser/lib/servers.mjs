// Two small servers of the tests' own: one for the bare pages, one that loses connections.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import * as net from 'node:net';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('..', import.meta.url));

/** Where the bare pages and the libraries that they import are found. */
const ROOTS = {
  '/pages/': join(here, 'pages'),
  '/sip.js/': join(here, 'node_modules/sip.js/lib'),
  '/jssip/': join(here, '../../../www/vendor/jssip'),
};
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.mjs': 'text/javascript' };

const listen = (server, port) => new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(port, '127.0.0.1', () => resolve(server.address().port));
});

/** Serves the bare pages. Returns {url, close}. */
export async function servePages() {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
    const root = Object.keys(ROOTS).find((prefix) => path.startsWith(prefix));
    const file = root && join(ROOTS[root], path.slice(root.length));
    const found = file && await stat(file).then((s) => s.isFile(), () => false);
    if (!found) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
  });
  const port = await listen(server, 0);
  return {
    url: `http://127.0.0.1:${port}/pages/`,
    close: () => new Promise((done) => {
      server.close(done);
      server.closeAllConnections();
    }),
  };
}

/** A TCP relay to a WebSocket server, for losing the connection: {url, cut, mend, close}. */
export async function relay(target) {
  const { hostname, port: targetPort, protocol } = new URL(target);
  const sockets = new Set();
  const accept = (client) => {
    const server = net.connect(targetPort, hostname.replace(/^\[|\]$/g, ''));
    for (const [one, other] of [[client, server], [server, client]]) {
      sockets.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  };
  let server = net.createServer(accept);
  const port = await listen(server, 0);
  const cut = async () => {
    const closed = new Promise((done) => server.close(done));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    // The name stays, so that a server that compares it with the page's origin sees no difference.
    url: `${protocol}//${hostname === 'localhost' ? hostname : '127.0.0.1'}:${port}`,
    cut, // every connection dies, new ones are refused
    async mend() {
      server = net.createServer(accept);
      await listen(server, port);
    },
    close: cut,
  };
}
