import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootstrapIframe } from '../../../gateway/sdk/host/dist/index.js';
import { ASSETS, EXTENSION, Frame, HASH, Page, TOKENS, connect, message } from './pages.mjs';

const SECRET = 'the-session-token';

function opened(t, more = {}, attributes = {}) {
  const host = new Page();
  const frame = new Frame(host, attributes);
  const errors = [];
  const bridge = bootstrapIframe({
    iframe: frame,
    extensionId: EXTENSION,
    contentHash: HASH,
    initialPath: '/notes',
    session: { token: SECRET, expiresAt: Date.now() + 600_000 },
    themeTokens: TOKENS,
    allowedOrigin: ASSETS,
    warnWithoutFrameSrc: false,
    onError: (error) => errors.push(error.code),
    ...more,
  });
  t.after(() => bridge.dispose());
  return { host, frame, bridge, errors };
}

test('the address carries a fresh nonce of 128 bits each time', (t) => {
  const nonces = Array.from({ length: 20 }, () => opened(t).frame.nonce);
  for (const nonce of nonces) assert.match(nonce, /^[0-9a-f]{32}$/);
  assert.equal(new Set(nonces).size, nonces.length);
});

test('the document that knows the nonce gets session, theme and path over a port', async (t) => {
  const { host, frame, bridge } = opened(t, { requestId: 'r-1' });
  const inbox = connect(host, frame);
  const first = await inbox.next('bootstrap');
  assert.equal(first.request_id, 'r-1');
  assert.equal(first.payload.session.token, SECRET);
  assert.deepEqual([first.payload.theme_tokens, first.payload.navigation], [TOKENS, { path: '/notes' }]);
  assert.deepEqual((await inbox.next('visibility')).payload, { visible: true });
  await bridge.ready;
});

test('what is posted to the window carries nothing secret, whoever receives it', (t) => {
  const { host, frame } = opened(t);
  connect(host, frame);
  assert.deepEqual(frame.contentWindow.posted, { data: message('port'), target: '*' });
});

for (const [name, said] of Object.entries({
  'no nonce': {},
  'an empty nonce': { nonce: '' },
  'a guessed nonce': { nonce: '0'.repeat(32) },
  'a nonce that is no text': { nonce: 7 },
})) {
  test(`a ready with ${name} gets nothing, and is counted`, (t) => {
    const { host, frame, bridge } = opened(t);
    const inbox = connect(host, frame, said);
    assert.equal(inbox.port, undefined);
    assert.equal(frame.contentWindow.posted, undefined);
    assert.equal(bridge.ignoredCount, 1);
  });
}

test('a ready with the nonce in capitals is another nonce', (t) => {
  const { host, frame } = opened(t);
  const nonce = frame.nonce.toUpperCase();
  if (nonce !== frame.nonce) assert.equal(connect(host, frame, { nonce }).port, undefined);
});

test('another window that learnt the nonce gets nothing', (t) => {
  const { host, frame } = opened(t);
  const own = host.sender;
  for (const stranger of [new Page('https://evil.test/'), host, null]) {
    host.sender = stranger;
    assert.equal(connect(host, frame).port, undefined);
  }
  host.sender = own;
  assert.notEqual(connect(host, frame).port, undefined);
});

test('a nonce works once', (t) => {
  const { host, frame, bridge } = opened(t);
  assert.notEqual(connect(host, frame).port, undefined);
  assert.equal(connect(host, frame).port, undefined);
  assert.equal(bridge.ignoredCount, 1);
});

test('the load of the document itself ends nothing, before its ready or after it', async (t) => {
  for (const first of ['load', 'ready']) {
    const { host, frame, bridge } = opened(t);
    if (first === 'load') frame.loaded();
    const inbox = connect(host, frame);
    if (first === 'ready') frame.loaded();
    await inbox.next('bootstrap');
    bridge.setTheme({ '--alga-bg': '#000000' });
    assert.deepEqual((await inbox.next('theme_tokens')).payload, { '--alga-bg': '#000000' });
  }
});

test('the port dies with the next load, and the later document gets nothing', async (t) => {
  const { host, frame, bridge, errors } = opened(t);
  const { nonce } = frame;
  const inbox = connect(host, frame);
  frame.loaded();
  frame.loaded();
  await inbox.next('bootstrap');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(inbox.closed);
  bridge.setTheme({ '--alga-bg': '#000000' });
  assert.equal(connect(host, frame, { nonce }).port, undefined);
  assert.deepEqual(errors, ['frame_lost']);
});

test('a document that left before it was ready takes the nonce with it', (t) => {
  const { host, frame, errors } = opened(t);
  frame.loaded();
  frame.loaded();
  assert.equal(connect(host, frame).port, undefined);
  assert.deepEqual(errors, ['frame_lost']);
});

test('opening again gives a new nonce, and the old one is worth nothing', async (t) => {
  const { host, frame, bridge } = opened(t);
  const old = frame.nonce;
  bridge.dispose();
  const again = bootstrapIframe({
    iframe: frame,
    extensionId: EXTENSION,
    contentHash: HASH,
    session: { token: 'second', expiresAt: Date.now() + 600_000 },
    themeTokens: TOKENS,
    allowedOrigin: ASSETS,
    warnWithoutFrameSrc: false,
  });
  t.after(() => again.dispose());
  assert.equal(frame.src, 'about:blank', 'the same address with another fragment would not be loaded again');
  frame.loaded();
  assert.notEqual(frame.nonce, old);
  assert.equal(connect(host, frame, { nonce: old }).port, undefined);
  assert.equal((await connect(host, frame).next('bootstrap')).payload.session.token, 'second');
});

test('after dispose nobody is answered', async (t) => {
  const { host, frame, bridge } = opened(t);
  bridge.dispose();
  await assert.rejects(bridge.ready, { code: 'frame_lost' });
  assert.equal(connect(host, frame).port, undefined);
});

test('a frame that never says ready is given up on', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { bridge, errors } = opened(t);
  t.mock.timers.tick(30_000);
  await assert.rejects(bridge.ready, { code: 'frame_silent' });
  assert.deepEqual(errors, ['frame_silent']);
});

test('what is no envelope, or of a later release, is ignored and counted', async (t) => {
  const { host, frame, bridge, errors } = opened(t);
  const strange = [null, 7, 'ready', [], {}, { alga: true }, { ...message('ready'), version: '2' }, { ...message('x'), payload: [] }];
  for (const data of strange) host.postMessage(data, '*');
  assert.equal(bridge.ignoredCount, strange.length);
  const inbox = connect(host, frame);
  await inbox.next('bootstrap');
  for (const data of [null, { ...message('toast'), alga: 1 }, message('of_a_later_release'), message('__proto__')]) {
    inbox.port.postMessage(data);
  }
  inbox.port.postMessage(message('error', { message: 'done' }));
  await until(() => errors.length === 1);
  assert.equal(bridge.ignoredCount, strange.length + 4);
});

test('a message acts only when its payload is what its type asks for', async (t) => {
  const seen = [];
  const { host, frame } = opened(t, {
    onNavigate: (path) => seen.push(path),
    onResize: (height) => seen.push(height),
    onToast: (level, text) => seen.push(`${level}: ${text}`),
    onError: (error) => seen.push(error.message),
  });
  const { port } = connect(host, frame);
  const send = (type, payload) => port.postMessage(message(type, payload));
  for (const path of ['//evil.test', '/\\evil.test', 'https://evil.test', 'javascript:x', '/a b', '', 7]) send('navigate', { path });
  for (const height of ['100', Number.NaN, Infinity, null]) send('resize', { height });
  for (const toast of [{ level: 'shout', text: 'x' }, { level: 'info', text: '' }, { level: 'info', text: 'x'.repeat(501) }]) {
    send('toast', toast);
  }
  send('error', { message: 7 });
  send('navigate', { path: '/notes/1?x=y' });
  for (const height of [1, 100.2, 1e9]) send('resize', { height });
  send('toast', { level: 'success', text: '<b>saved</b>' });
  send('error', { message: 'it broke', stack: 'at x' });
  await until(() => seen.includes('it broke'));
  assert.deepEqual(seen, ['/notes/1?x=y', 100, 101, 4000, 'success: <b>saved</b>', 'it broke']);
});

test('plain window messages are served only where the page asked for it', async (t) => {
  const { host, frame } = opened(t, { legacy: true });
  const inbox = [];
  frame.contentWindow.addEventListener('message', ({ data }) => inbox.push(data));
  host.postMessage(message('ready'), '*');
  assert.equal(inbox[0].payload.session.token, SECRET);
  frame.loaded();
  frame.loaded();
  host.postMessage(message('ready'), '*');
  assert.equal(inbox.filter(({ type }) => type === 'bootstrap').length, 1);
});

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
