// Tries what a page inside a frame should not be able to do, then behaves for a moment, then tries with what it got.

import { envelope, pause, ports, posted, report, say } from './wire.js';

const results = {};
const nonce = location.hash.slice('#alga_nonce='.length);

// Spoofing: no nonce, guesses, other forms, other types, somebody else's window.
say({});
for (let guess = 0; guess < 500; guess += 1) say({ nonce: guess.toString(16).padStart(32, '0') });
say({ nonce: nonce.toUpperCase() === nonce ? 'x' : nonce.toUpperCase() });
for (const type of ['bootstrap', 'session', 'port', 'apiproxy', '__proto__']) {
  parent.postMessage(envelope(type, { route: '/hello', method: 'GET', nonce }, 'r1'), '*');
}
parent.postMessage('ready', '*');
await pause(300);
results.portsBeforeTheNonce = ports().length;

// The nonce, twice: one port.
say({ nonce });
say({ nonce });
await pause(300);
results.portsAfterTheNonce = ports().length;
results.windowMessages = posted.map(({ data }) => data);

const [port] = ports();
const inbox = [];
port.onmessage = ({ data }) => inbox.push(data);
await pause(200);
const { session } = inbox.find(({ type }) => type === 'bootstrap').payload;
results.hasToken = session.token.length > 100;

// Calls that would leave the extension's own path.
const routes = [
  '/../../installs', '/../../../msp/extensions', '/%2e%2e/%2e%2e/installs', '..%2f..%2finstalls', '\\..\\..\\installs',
  '//127.0.0.1/x', 'http://127.0.0.1/x', '/x/../../../installs', 'javascript:1', '/a//b',
];
routes.forEach((route, index) => port.postMessage(envelope('apiproxy', { route, method: 'GET' }, `e${index}`)));
port.postMessage(envelope('apiproxy', { route: '/x', method: 'GET', headers: { authorization: 'Bearer mine' } }, 'own'));
while (inbox.filter(({ type }) => type === 'apiproxy_response').length < routes.length + 1) await pause(50);
const answer = (id) => inbox.find(({ type, request_id: other }) => type === 'apiproxy_response' && other === id).payload;
results.escapes = routes.map((_route, index) => answer(`e${index}`).error?.code ?? answer(`e${index}`).status);
results.ownCall = answer('own').status;

// What the sandbox keeps away.
const attempt = async (act) => {
  try {
    return String((await act()) ?? 'nothing');
  } catch (error) {
    return error.name;
  }
};
results.parentDocument = await attempt(() => parent.document.title);
results.topNavigation = await attempt(() => (top.location = 'about:blank'));
results.cookies = await attempt(() => document.cookie);
results.storage = await attempt(() => localStorage.length);
results.network = await attempt(() => fetch('/healthz').then((found) => found.status));
results.popup = await attempt(() => open('about:blank'));
results.origin = origin;
results.font = await attempt(async () => (await document.fonts.load('16px Probe')).length);
results.module = true;
report(results);

// The port of the first document, the nonce and the token of the first session: what a later document could be told.
globalThis.leave = () => location.assign(`later.html?nonce=${nonce}`);
