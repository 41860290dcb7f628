import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootstrapIframe } from '../../../gateway/sdk/host/dist/index.js';
import { ASSETS, EXTENSION, Frame, HASH, PAGE, Page, TOKENS, connect, message } from './pages.mjs';

const MINUTE = 60_000;

function running(t, { lifetimeMs, renewSession }) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const host = new Page();
  const frame = new Frame(host);
  const errors = [];
  const bridge = bootstrapIframe({
    iframe: frame,
    extensionId: EXTENSION,
    contentHash: HASH,
    session: { token: 'first', expiresAt: Date.now() + lifetimeMs },
    themeTokens: TOKENS,
    allowedOrigin: ASSETS,
    warnWithoutFrameSrc: false,
    onError: (error) => errors.push(error.code),
    ...(renewSession && { renewSession }),
  });
  t.after(() => bridge.dispose());
  return { inbox: connect(host, frame), errors, bridge };
}

const settled = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

test('a session is renewed a minute before its end, again and again', async (t) => {
  let count = 0;
  const renewSession = async () => ({ token: `next-${(count += 1)}`, expiresAt: Date.now() + 10 * MINUTE });
  const { inbox } = running(t, { lifetimeMs: 10 * MINUTE, renewSession });
  t.mock.timers.tick(9 * MINUTE - 1);
  await settled();
  assert.equal(count, 0);
  t.mock.timers.tick(1);
  const { payload } = await inbox.next('session');
  assert.deepEqual(payload, { token: 'next-1', expires_at: Date.now() + 10 * MINUTE });
  await settled();
  t.mock.timers.tick(9 * MINUTE);
  assert.equal((await inbox.next('session')).payload.token, 'next-2');
});

test('a short session is renewed at half time', async (t) => {
  const renewSession = async () => ({ token: 'next', expiresAt: new Date(Date.now() + 60_000).toISOString() });
  const { inbox } = running(t, { lifetimeMs: 30_000, renewSession });
  t.mock.timers.tick(15_000);
  assert.equal((await inbox.next('session')).payload.expires_at, Date.now() + 60_000);
});

test('a failed renewal is tried again until the session ends, then it is an error', async (t) => {
  let tries = 0;
  const renewSession = async () => {
    tries += 1;
    throw new Error('the gateway is away');
  };
  const { errors, inbox } = running(t, { lifetimeMs: 2 * MINUTE, renewSession });
  for (let second = 0; second < 120; second += 1) {
    t.mock.timers.tick(1000);
    await settled();
  }
  assert.ok(tries >= 8, `${tries} tries`);
  assert.deepEqual(errors, ['session_ended']);
  inbox.port.postMessage(message('apiproxy', { route: '/x', method: 'GET' }, 'c1'));
  assert.equal((await inbox.next('apiproxy_response')).payload.error.code, 'session_ended');
});

test('an expired session is renewed before a call, once for all that wait', async (t) => {
  let renewals = 0;
  const renewSession = async () => ({ token: `next-${(renewals += 1)}`, expiresAt: Date.now() + 10 * MINUTE });
  const seen = [];
  t.mock.method(globalThis, 'fetch', async (_url, { headers }) => (seen.push(headers.at(-1)[1]), new Response('')));
  const { inbox } = running(t, { lifetimeMs: 10 * MINUTE, renewSession });
  t.mock.timers.setTime(Date.now() + 11 * MINUTE); // the machine slept: no timer has fired
  for (const id of ['c1', 'c2']) inbox.port.postMessage(message('apiproxy', { route: '/x', method: 'GET' }, id));
  await inbox.next('apiproxy_response');
  await inbox.next('apiproxy_response');
  assert.deepEqual([renewals, seen], [1, ['Bearer next-1', 'Bearer next-1']]);
});

test('by default the bootstrap endpoint is asked, as the page itself', async (t) => {
  const asked = [];
  t.mock.method(globalThis, 'fetch', async (url, init) => {
    asked.push([String(url), init.credentials]);
    return Response.json({ session: { token: 'next', expiresAt: Date.now() + 10 * MINUTE } });
  });
  const { inbox } = running(t, { lifetimeMs: 30_000 });
  t.mock.timers.tick(15_000);
  assert.equal((await inbox.next('session')).payload.token, 'next');
  assert.deepEqual(asked, [[`${PAGE}/api/ext-ui/bootstrap/${EXTENSION}`, 'same-origin']]);
});

test('after dispose nothing is renewed', async (t) => {
  let tries = 0;
  const { bridge } = running(t, { lifetimeMs: 30_000, renewSession: async () => ((tries += 1), {}) });
  bridge.dispose();
  t.mock.timers.tick(10 * MINUTE);
  await settled();
  assert.equal(tries, 0);
});
