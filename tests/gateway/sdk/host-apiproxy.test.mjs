import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootstrapIframe } from '../../../gateway/sdk/host/dist/index.js';
import { ASSETS, EXTENSION, Frame, HASH, PAGE, Page, TOKENS, connect, message } from './pages.mjs';

const ROOT = `${PAGE}/api/ext/${EXTENSION}/`;

/** A connected page inside, and the requests that reached the gateway. */
function calling(t, answer = async () => Response.json({ ok: true }), more = {}) {
  const host = new Page();
  const frame = new Frame(host);
  const requests = [];
  t.mock.method(globalThis, 'fetch', (url, init) => {
    requests.push({ url: String(url), ...init });
    return answer(url, init);
  });
  const bridge = bootstrapIframe({
    iframe: frame,
    extensionId: EXTENSION,
    contentHash: HASH,
    session: { token: 'the-token', expiresAt: Date.now() + 600_000 },
    themeTokens: TOKENS,
    allowedOrigin: ASSETS,
    warnWithoutFrameSrc: false,
    ...more,
  });
  t.after(() => bridge.dispose());
  const inbox = connect(host, frame);
  let calls = 0;
  const call = (payload) => {
    inbox.port.postMessage(message('apiproxy', { method: 'GET', ...payload }, `c${(calls += 1)}`));
    return inbox.next('apiproxy_response');
  };
  return { inbox, call, requests, bridge };
}

const REFUSED = [
  '..',
  '../',
  '/../../installs',
  '/a/../b',
  '/./a',
  '/a/..',
  '//evil.test/x',
  '/a//b',
  '\\evil.test',
  '/\\evil.test',
  '/a\\..\\b',
  'https://evil.test/',
  'https:/evil.test',
  'http:x',
  'javascript:alert(1)',
  'data:text/html,x',
  'a:b',
  '/%2e%2e/installs',
  '/.%2E/installs',
  '/a%2fb',
  '/a%2F..%2Fb',
  '/a%5cb',
  '/a%5C',
  '/a%00',
  '/a\tb',
  '/.\n./x',
  '/a\r',
  ' /a',
  '/a b',
  '/a#b',
  '/\u0000',
];
for (const route of REFUSED) {
  test(`the route ${JSON.stringify(route)} leaves nobody's path`, async (t) => {
    const { call, requests } = calling(t);
    const { payload } = await call({ route });
    assert.deepEqual([payload.status, payload.error.code], [0, 'route_refused']);
    assert.deepEqual(requests, []);
  });
}

const TAKEN = {
  '/hello': 'hello',
  hello: 'hello',
  '/': '',
  '/a/b?x=../..&y=//z': 'a/b?x=../..&y=//z',
  '/a%20b': 'a%20b',
  '/..a/b..': '..a/b..',
  '/a:b': 'a:b',
  '/@evil.test': '@evil.test',
  '?x=1': '?x=1',
};
for (const [route, below] of Object.entries(TAKEN)) {
  test(`the route ${JSON.stringify(route)} stays below the extension`, async (t) => {
    const { call, requests } = calling(t);
    assert.equal((await call({ route })).payload.status, 200);
    assert.equal(requests[0].url, ROOT + below);
  });
}

test('a call carries the session, never the cookies of the page, and follows no redirect', async (t) => {
  const { call, requests } = calling(t);
  await call({ route: '/hello', headers: { accept: 'application/json' } });
  const [{ headers, credentials, redirect, method, body }] = requests;
  assert.deepEqual(headers, [['accept', 'application/json'], ['authorization', 'Bearer the-token']]);
  assert.deepEqual([method, credentials, redirect, body], ['GET', 'omit', 'manual', null]);
});

test('a page cannot say who is calling', async (t) => {
  const { call, requests } = calling(t);
  await call({ route: '/x', headers: { Authorization: 'Bearer mine', cookie: 'a=b', 'x-alga-tenant': 'globex', host: 'x' } });
  assert.deepEqual(requests[0].headers, [['authorization', 'Bearer the-token']]);
});

test('status, headers and bytes come back', async (t) => {
  const { call } = calling(t, async () => new Response(Uint8Array.of(0, 255, 1), { status: 418, headers: { etag: '"1"' } }));
  const { payload, request_id: id } = await call({ route: '/x' });
  assert.deepEqual([payload.status, payload.headers.etag, id], [418, '"1"', 'c1']);
  assert.deepEqual([...new Uint8Array(payload.body)], [0, 255, 1]);
});

test('a binary body reaches the gateway as it is', async (t) => {
  const { call, requests } = calling(t);
  await call({ route: '/x', method: 'POST', body: Uint8Array.of(1, 2, 3).buffer });
  assert.deepEqual([...new Uint8Array(requests[0].body)], [1, 2, 3]);
});

for (const [name, payload] of Object.entries({
  'an unknown method': { route: '/x', method: 'TRACE' },
  'a method in small letters': { route: '/x', method: 'get' },
  'a body with GET': { route: '/x', body: 'x' },
  'a body that is an object': { route: '/x', method: 'POST', body: {} },
  'a body above ten mebibytes': { route: '/x', method: 'POST', body: new ArrayBuffer(10 * 1024 * 1024 + 1) },
  'a header with a line break': { route: '/x', headers: { accept: 'a\r\nb: c' } },
  'a header that is no text': { route: '/x', headers: { accept: 1 } },
  'a header name that is none': { route: '/x', headers: { 'a b': '1' } },
  'no route': {},
  'a route that is too long': { route: `/${'x'.repeat(8192)}` },
})) {
  test(`a call with ${name} is answered with an error and not made`, async (t) => {
    const { call, requests } = calling(t);
    assert.equal((await call(payload)).payload.error.code, 'invalid_request');
    assert.deepEqual(requests, []);
  });
}

test('a body of ten mebibytes is sent', async (t) => {
  const { call, requests } = calling(t);
  await call({ route: '/x', method: 'PUT', body: new ArrayBuffer(10 * 1024 * 1024) });
  assert.equal(requests.length, 1);
});

test('an answer that is a redirect, too large or none is an error', async (t) => {
  const redirect = Object.defineProperty(new Response(null), 'type', { value: 'opaqueredirect' });
  const large = new Response('x', { headers: { 'content-length': String(10 * 1024 * 1024 + 1) } });
  const answers = [async () => redirect, async () => large, () => Promise.reject(new TypeError('fetch failed'))];
  const { call } = calling(t, () => answers.shift()());
  for (const code of ['route_refused', 'response_too_large', 'network']) {
    assert.equal((await call({ route: '/x' })).payload.error.code, code);
  }
});

test('a frame makes 32 calls at once and no more', async (t) => {
  const release = [];
  const { inbox, requests } = calling(t, () => new Promise((resolve) => release.push(() => resolve(new Response('')))));
  for (let index = 0; index < 33; index += 1) {
    inbox.port.postMessage(message('apiproxy', { route: '/x', method: 'GET' }, `c${index}`));
  }
  const refused = await inbox.next('apiproxy_response');
  assert.deepEqual([refused.request_id, refused.payload.error.code], ['c32', 'busy']);
  assert.equal(requests.length, 32);
  for (const finish of release) finish();
  assert.equal((await inbox.next('apiproxy_response')).payload.status, 200);
});

test('cancelling a call, or the frame, ends the request', async (t) => {
  const signals = [];
  const hang = (_url, { signal }) =>
    new Promise((_resolve, reject) => {
      signals.push(signal);
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  const { inbox, bridge } = calling(t, hang);
  for (const id of ['c1', 'c2']) inbox.port.postMessage(message('apiproxy', { route: '/x', method: 'GET' }, id));
  while (signals.length < 2) await new Promise((resolve) => setImmediate(resolve));
  inbox.port.postMessage(message('apiproxy_cancel', {}, 'c1'));
  while (!signals[0].aborted) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(signals[1].aborted, false);
  bridge.dispose();
  assert.ok(signals[1].aborted);
});

test('the gateway may stand elsewhere, below a path', async (t) => {
  const { call, requests } = calling(t, undefined, { apiBase: 'https://gw.example.com/ext/' });
  await call({ route: '/hello' });
  assert.equal(requests[0].url, `https://gw.example.com/ext/api/ext/${EXTENSION}/hello`);
});
