// A later document of the same frame: knows the nonce, and asks for what the first one got.

import { envelope, pause, ports, posted, report, say } from './wire.js';

const nonce = new URLSearchParams(location.search).get('nonce');
for (let turn = 0; turn < 5; turn += 1) {
  say({ nonce });
  say({});
  parent.postMessage(envelope('apiproxy', { route: '/x', method: 'GET' }, `l${turn}`), '*');
  await pause(100);
}
report({ ports: ports().length, messages: posted.length });
