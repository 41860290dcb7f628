// Both sides together: the page inside uses its SDK, the host page its bridge, and only the gateway is pretended.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootstrapIframe } from '../../../gateway/sdk/host/dist/index.js';
import { BridgeError, HandlerError, createBridge } from '../../../gateway/sdk/iframe-sdk/dist/index.js';
import { ASSETS, EXTENSION, Frame, HASH, Page, TOKENS, message } from './pages.mjs';

function embedded(t, { answer = async () => Response.json({}), ...more } = {}) {
  const host = new Page();
  const frame = new Frame(host);
  const requests = [];
  t.mock.method(globalThis, 'fetch', (url, init) => (requests.push({ url: String(url), ...init }), answer(url, init)));
  const seen = [];
  const outer = bootstrapIframe({
    iframe: frame,
    extensionId: EXTENSION,
    contentHash: HASH,
    initialPath: '/notes',
    session: { token: 'first', expiresAt: Date.now() + 600_000 },
    themeTokens: TOKENS,
    allowedOrigin: ASSETS,
    warnWithoutFrameSrc: false,
    onNavigate: (path) => seen.push(['navigate', path]),
    onResize: (height) => seen.push(['resize', height]),
    onToast: (level, text) => seen.push([level, text]),
    onError: (error) => seen.push([error.code, error.message]),
    ...more,
  });
  const bridge = createBridge(frame.contentWindow);
  t.after(() => (bridge.dispose(), outer.dispose()));
  return { bridge, outer, frame, requests, seen, until };
  async function until(count) {
    while (seen.length < count) await new Promise((resolve) => setImmediate(resolve));
  }
}

test('ready brings session, theme and path, once however often it is asked for', async (t) => {
  const { bridge, outer, frame } = embedded(t);
  const [first, second] = await Promise.all([bridge.ready(), bridge.ready()]);
  assert.equal(first, second);
  assert.deepEqual([first.navigation, first.theme_tokens], [{ path: '/notes' }, TOKENS]);
  assert.equal(await bridge.getToken(), 'first');
  await outer.ready;
  assert.equal(frame.contentWindow.location.hash, '', 'a page that routes by fragment does not meet the nonce');
});

test('a page that no host has opened learns that, and does not wait', async () => {
  const alone = new Page('https://ui.example.com/index.html#alga_nonce=' + '0'.repeat(32));
  await assert.rejects(createBridge(alone).ready(), { name: 'BridgeError', code: 'no_host' });
  const framed = new Page('https://ui.example.com/index.html');
  framed.parent = new Page();
  await assert.rejects(createBridge(framed).ready(), { code: 'no_host' });
});

test('a port from anybody but the host is not taken', async (t) => {
  const host = new Page();
  const framed = new Page(`https://ui.example.com/index.html#alga_nonce=${'0'.repeat(32)}`);
  framed.parent = host;
  const bridge = createBridge(framed);
  t.after(() => bridge.dispose());
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const outcome = assert.rejects(bridge.ready(), { code: 'no_host' });
  const { port1, port2 } = new MessageChannel();
  framed.sender = new Page('https://evil.test/');
  framed.postMessage(message('port'), '*', [port2]);
  t.mock.timers.tick(15_000);
  await outcome;
  port1.close();
});

test('a handler is called with JSON and answers with JSON', async (t) => {
  const { bridge, requests } = embedded(t, { answer: async (_url, { body }) => Response.json({ echo: JSON.parse(body ?? 'null') }) });
  assert.deepEqual(await bridge.callHandlerJson('/echo', { body: { a: 1 } }), { echo: { a: 1 } });
  assert.deepEqual(await bridge.callHandlerJson('/hello'), { echo: null });
  assert.deepEqual(requests.map(({ method }) => method), ['POST', 'GET']);
  assert.deepEqual(requests[0].headers.slice(0, 2), [['accept', 'application/json'], ['content-type', 'application/json']]);
});

test('an answer that is no success is thrown with its status and body', async (t) => {
  const answers = [Response.json({ code: 'forbidden' }, { status: 403 }), new Response('oops', { status: 500 })];
  const { bridge } = embedded(t, { answer: async () => answers.shift() });
  await assert.rejects(bridge.callHandlerJson('/x'), (error) => {
    assert.ok(error instanceof HandlerError);
    assert.deepEqual([error.status, error.body], [403, { code: 'forbidden' }]);
    return true;
  });
  await assert.rejects(bridge.callHandlerJson('/x'), { status: 500, body: 'oops' });
});

test('204 is no body, and a body that is not JSON says so', async (t) => {
  const answers = [new Response(null, { status: 204 }), new Response('<html>')];
  const { bridge } = embedded(t, { answer: async () => answers.shift() });
  assert.equal(await bridge.callHandlerJson('/x'), undefined);
  await assert.rejects(bridge.callHandlerJson('/x'), { code: 'bad_answer' });
});

test('a call is like fetch: status, headers, bytes', async (t) => {
  const { bridge, requests } = embedded(t, {
    answer: async (_url, { body }) => new Response(body, { status: 201, headers: { 'content-type': 'image/png' } }),
  });
  const mine = Uint8Array.of(9, 1, 2, 3).subarray(1);
  const answer = await bridge.uiProxy.call('/echo', { method: 'put', body: mine, headers: { 'content-type': 'image/png' } });
  assert.deepEqual([answer.status, answer.ok, answer.headers.get('Content-Type')], [201, true, 'image/png']);
  assert.deepEqual([...answer.bytes()], [1, 2, 3]);
  assert.deepEqual([...mine], [1, 2, 3], 'the caller keeps its bytes');
  assert.equal(requests[0].method, 'PUT');
});

test('a refused route is an error with the reason', async (t) => {
  const { bridge, requests } = embedded(t);
  await assert.rejects(bridge.uiProxy.call('/../../installs'), (error) => {
    assert.ok(error instanceof BridgeError);
    assert.equal(error.code, 'route_refused');
    return true;
  });
  assert.deepEqual(requests, []);
});

test('a signal ends a call here and at the host', async (t) => {
  const signals = [];
  const hang = (_url, { signal }) =>
    new Promise((_resolve, reject) => (signals.push(signal), signal.addEventListener('abort', () => reject(signal.reason))));
  const { bridge } = embedded(t, { answer: hang });
  const controller = new AbortController();
  const outcome = assert.rejects(bridge.uiProxy.call('/x', { signal: controller.signal }), { code: 'aborted' });
  while (!signals.length) await new Promise((resolve) => setImmediate(resolve));
  controller.abort();
  await outcome;
  while (!signals[0].aborted) await new Promise((resolve) => setImmediate(resolve));
  await assert.rejects(bridge.uiProxy.call('/x', { signal: AbortSignal.abort() }), { code: 'aborted' });
});

test('a call ends after 15 seconds, or when the caller says', async (t) => {
  const { bridge } = embedded(t, { answer: () => new Promise(() => undefined) });
  await bridge.ready();
  t.mock.timers.enable({ apis: ['setTimeout'] });
  for (const [timeoutMs, after] of [[undefined, 15_000], [100, 100]]) {
    let ended = false;
    const outcome = bridge.uiProxy.call('/x', timeoutMs ? { timeoutMs } : {}).catch((error) => (ended = error.code));
    await new Promise((resolve) => setImmediate(resolve));
    t.mock.timers.tick(after - 1);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(ended, false);
    t.mock.timers.tick(1);
    await outcome;
    assert.equal(ended, 'timeout');
  }
  t.mock.timers.reset(); // timers from before must be ended by their own clock
});

test('a theme is applied and followed', async (t) => {
  const { bridge, outer, frame } = embedded(t);
  const { style } = frame.contentWindow.document.documentElement;
  const seen = [];
  await bridge.ready();
  const stop = bridge.subscribeTheme((tokens) => {
    seen.push(tokens['--alga-bg']);
    bridge.applyTheme();
  });
  outer.setTheme({ '--alga-bg': '#000000' });
  while (seen.length < 2) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(seen, ['#ffffff', '#000000']);
  assert.equal(style.get('--alga-bg'), '#000000');
  stop();
});

test('what a page says reaches the host page', async (t) => {
  const { bridge, seen, until } = embedded(t);
  await bridge.ready();
  bridge.navigate('/notes/1');
  bridge.resize(12.5);
  bridge.toast('saved', 'success');
  bridge.reportError(new Error('it broke'));
  await until(4);
  assert.deepEqual(seen, [['navigate', '/notes/1'], ['resize', 100], ['success', 'saved'], ['extension_error', 'it broke']]);
});

test('speaking before ready is an error that says what to do', (t) => {
  const { bridge } = embedded(t);
  assert.throws(() => bridge.toast('x'), { code: 'no_host', message: /ready\(\)/ });
});

test('a token near its end is waited for', async (t) => {
  const renewSession = async () => ({ token: 'second', expiresAt: Date.now() + 600_000 });
  const session = { token: 'first', expiresAt: Date.now() + 1500 };
  const { bridge } = embedded(t, { session, renewSession });
  assert.equal(await bridge.getToken(), 'second');
});

test('dispose ends calls under way', async (t) => {
  const { bridge } = embedded(t, { answer: () => new Promise(() => undefined) });
  await bridge.ready();
  const outcome = assert.rejects(bridge.uiProxy.call('/x'), { code: 'closed' });
  await new Promise((resolve) => setImmediate(resolve));
  bridge.dispose();
  await outcome;
});
