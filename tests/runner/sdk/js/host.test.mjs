// The host as an author sees it, over modules that behave as those of either engine do.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  HostError,
  bindHost,
  createFetch,
  createMockHostBindings,
  encodeText,
} from '../../../../runner/sdk/js/src/index.js';

function refusal(payload) {
  return () => {
    throw Object.assign(new Error(payload), { payload });
  };
}

const hostError = (iface, code) => (error) =>
  error instanceof HostError && error.interface === iface && error.code === code;

// ---- both engines are alike -----------------------------------------------------------------------------------------

for (const [engine, none, revision] of [
  ['QuickJS', null, 3],
  ['StarlingMonkey', undefined, 3n],
]) {
  test(`what ${engine} answers arrives as null and numbers`, () => {
    const entry = { namespace: 'n', key: 'k', value: Uint8Array.of(1), revision };
    const { context, storage, scheduler, config } = bindHost({
      context: {
        getContext: () => ({ requestId: none, tenantId: 't', extensionId: 'e', installId: none, versionId: none }),
      },
      storage: { get: () => entry, listEntries: () => [entry], delete: () => none },
      scheduler: { getSchedule: () => none, listSchedules: () => [{ id: 'i', name: none, enabled: true }] },
      config: { get: () => none, getAll: () => [['a', 'b']] },
    });
    assert.deepEqual(context.getContext(), {
      requestId: null,
      tenantId: 't',
      extensionId: 'e',
      installId: null,
      versionId: null,
    });
    assert.deepEqual(storage.get('n', 'k'), { ...entry, revision: 3 });
    assert.deepEqual(storage.listEntries('n'), [{ ...entry, revision: 3 }]);
    assert.equal(storage.delete('n', 'k'), undefined);
    assert.equal(scheduler.getSchedule('x'), null);
    assert.deepEqual(scheduler.listSchedules(), [{ id: 'i', name: null, enabled: true }]);
    assert.equal(config.get('x'), null);
    assert.deepEqual(config.getAll(), { a: 'b' });
  });
}

// ---- errors ---------------------------------------------------------------------------------------------------------

test('the error of a result becomes a HostError with its interface and code', () => {
  const host = bindHost({
    secrets: { get: refusal('expired') },
    http: { fetch: refusal('not-allowed') },
    storage: {
      get: refusal('missing'),
      put: refusal('conflict'),
      delete: refusal('denied'),
      listEntries: refusal('internal'),
    },
    uiProxy: { callRoute: refusal('route-not-found') },
    user: { getUser: refusal('not-available') },
    userV2: { getUser: refusal('not-allowed') },
    scheduler: { listSchedules: refusal('denied') },
  });
  assert.throws(() => host.secrets.get('k'), hostError('secrets', 'expired'));
  assert.throws(() => host.http.fetch({ url: 'https://a/' }), hostError('http', 'not-allowed'));
  assert.throws(() => host.fetch('https://a/'), hostError('http', 'not-allowed'));
  assert.throws(() => host.storage.get('n', 'k'), hostError('storage', 'missing'));
  assert.throws(() => host.storage.put({ namespace: 'n', key: 'k', value: 'v' }), hostError('storage', 'conflict'));
  assert.throws(() => host.storage.delete('n', 'k'), hostError('storage', 'denied'));
  assert.throws(() => host.storage.list('n'), hostError('storage', 'internal'));
  assert.throws(() => host.uiProxy.call('r'), hostError('ui-proxy', 'route-not-found'));
  assert.throws(() => host.user.getUser(), hostError('user', 'not-available'));
  assert.throws(() => host.user.getUserV2(), hostError('user-v2', 'not-allowed'));
  assert.throws(() => host.scheduler.list(), hostError('scheduler', 'denied'));
});

test('where the world’s error is a text, it is the message', () => {
  const { events } = bindHost({ events: { publish: refusal('granting cap:events.publish would allow it') } });
  assert.throws(
    () => events.publish('t', ''),
    (error) => error.code === 'refused' && /cap:events/.test(error.message),
  );
});

test('what is no error of the host is passed on as it is', () => {
  const fault = new RangeError('stack');
  const { config } = bindHost({
    config: {
      get: () => {
        throw fault;
      },
    },
  });
  assert.throws(
    () => config.get('k'),
    (error) => error === fault,
  );
});

test('an interface that the guest’s world lacks says how to have it, when it is used', () => {
  const host = bindHost({ logging: {}, user: { getUser: () => ({}) } });
  assert.throws(() => host.storage, /'alga:extension\/storage'/);
  assert.throws(() => host.uiProxy, /'alga:extension\/ui-proxy'/);
  assert.throws(() => host.fetch, /'alga:extension\/http'/);
  assert.throws(() => host.user.getUserV2(), /user-v2/);
  assert.deepEqual(Object.keys(host), ['logging', 'user']);
});

// ---- arguments ------------------------------------------------------------------------------------------------------

test('what crosses the border has the world’s types, whatever was given', () => {
  const seen = [];
  const see = (...values) => void seen.push(values);
  const host = bindHost({
    logging: { logInfo: see },
    storage: {
      put: (entry) => {
        see(entry);
        return entry;
      },
    },
    metrics: { counter: see, gauge: see, histogram: see },
    events: { publish: see },
    scheduler: { createSchedule: see, updateSchedule: see },
    uiProxy: {
      callRoute: (route, payload) => {
        see(route, payload);
        return new Uint8Array();
      },
    },
  });
  host.logging.info('a\ud800');
  host.storage.put({ namespace: 'n', key: 'k', value: 'ä' });
  host.storage.put({ namespace: 'n', key: 'k', value: new Uint16Array(1), revision: 3 });
  host.metrics.counter('c');
  host.metrics.gauge('g', 0.5, { a: 1 });
  host.metrics.histogram('h', 2, [['a', 'b']]);
  host.events.publish('t', '{}');
  host.scheduler.create({ endpoint: '/x', cron: '* * * * *', enabled: false });
  host.scheduler.update('i', { cron: null });
  host.uiProxy.callRoute('r');
  const schedule = {
    endpoint: undefined,
    cron: undefined,
    timezone: undefined,
    enabled: undefined,
    name: undefined,
    payload: undefined,
  };
  assert.deepEqual(seen, [
    ['a\ufffd'],
    [{ namespace: 'n', key: 'k', value: encodeText('ä'), revision: undefined }],
    [{ namespace: 'n', key: 'k', value: new Uint8Array(2), revision: 3 }],
    ['c', 1, []],
    ['g', 0.5, [['a', '1']]],
    ['h', 2, [['a', 'b']]],
    ['t', encodeText('{}')],
    [{ ...schedule, endpoint: '/x', cron: '* * * * *', enabled: false }],
    ['i', schedule],
    ['r', undefined],
  ]);
});

test('an argument of a wrong type is a TypeError before it crosses', () => {
  const host = createMockHostBindings();
  const wrong = [
    () => host.logging.logInfo(5),
    () => host.secrets.get(),
    () => host.config.get(null),
    () => host.storage.get('n', 1),
    () => host.storage.put({ namespace: 'n', key: 'k' }),
    () => host.storage.put({ namespace: 'n', key: 'k', value: 5 }),
    () => host.storage.put({ namespace: 'n', key: 'k', value: '', revision: 1.5 }),
    () => host.storage.put({ namespace: 'n', key: 'k', value: '', revision: 2n }),
    () => host.storage.list('n', 5),
    () => host.metrics.gauge('g', '1'),
    () => host.events.publish('t'),
    () => host.uiProxy.call(5),
    () => host.scheduler.create({ endpoint: '/x' }),
    () => host.scheduler.create({ endpoint: '/x', cron: '*', enabled: 1 }),
    () => host.http.fetch({ url: 'https://a', body: 5 }),
  ];
  for (const call of wrong) assert.throws(call, TypeError, `${call}`);
});

// ---- fetch ----------------------------------------------------------------------------------------------------------

function answering(answer) {
  const sent = [];
  const fetch = createFetch({
    fetch: (request) => {
      sent.push(request);
      return answer;
    },
  });
  return { sent, fetch };
}

test('fetch sends what a Web fetch would send', () => {
  const { sent, fetch } = answering({ status: 204, headers: [], body: null });
  fetch('https://a/');
  fetch(new URL('https://a/b'), { method: 'post', body: 'ä', headers: { x: '1' } });
  fetch('https://a/', { method: 'PUT', body: new URLSearchParams({ a: 'b c' }) });
  fetch('https://a/', { body: Uint8Array.of(1), headers: [['Content-Type', 'image/png']] });
  assert.deepEqual(sent, [
    { method: 'GET', url: 'https://a/', headers: [], body: undefined },
    {
      method: 'POST',
      url: 'https://a/b',
      headers: [
        { name: 'x', value: '1' },
        { name: 'content-type', value: 'text/plain;charset=UTF-8' },
      ],
      body: encodeText('ä'),
    },
    {
      method: 'PUT',
      url: 'https://a/',
      headers: [{ name: 'content-type', value: 'application/x-www-form-urlencoded;charset=UTF-8' }],
      body: encodeText('a=b+c'),
    },
    {
      method: 'GET',
      url: 'https://a/',
      headers: [{ name: 'Content-Type', value: 'image/png' }],
      body: Uint8Array.of(1),
    },
  ]);
});

test('a redirect is followed when the author asks for it', () => {
  const { sent, fetch } = answering({ status: 200, headers: [], body: null });
  fetch('https://a/', { redirect: 'manual' });
  fetch('https://a/', { redirect: 'follow', headers: { x: '1' } });
  assert.deepEqual(
    sent.map(({ headers }) => headers),
    [
      [],
      [
        { name: 'x', value: '1' },
        { name: 'x-ext-follow-redirects', value: '5' },
      ],
    ],
  );
  assert.throws(() => fetch('https://a/', { redirect: 'error' }), TypeError);
});

test('a body of more than crosses at once is refused and does not end the guest', () => {
  const sent = [];
  const host = bindHost({ http: { fetch: (request) => sent.push(request) && { status: 200, headers: [] } } });
  host.fetch('https://a/', { method: 'POST', body: new Uint8Array(2_621_440) });
  assert.equal(sent.length, 1);
  assert.throws(
    () => host.fetch('https://a/', { method: 'POST', body: new Uint8Array(2_621_441) }),
    hostError('http', 'transport'),
  );
  assert.equal(sent.length, 1);
});

test('its answer is read at once, or awaited', async () => {
  const headers = [
    { name: 'X-A', value: '1' },
    { name: 'x-a', value: '2' },
    { name: 'Set-Cookie', value: 'a' },
    { name: 'set-cookie', value: 'b' },
  ];
  const { fetch } = answering({ status: 201, headers, body: encodeText('{"a":"ä"}') });
  const answer = fetch('https://a/');
  assert.deepEqual([answer.status, answer.ok, answer.url, answer.text()], [201, true, 'https://a/', '{"a":"ä"}']);
  assert.deepEqual([answer.json(), answer.bytes().length, answer.arrayBuffer().byteLength], [{ a: 'ä' }, 10, 10]);
  assert.deepEqual(await (await fetch('https://a/')).json(), { a: 'ä' });
  assert.deepEqual(
    [answer.headers.get('X-a'), answer.headers.get('absent'), answer.headers.has('x-A')],
    ['1, 2', null, true],
  );
  assert.deepEqual(
    [...answer.headers],
    [
      ['x-a', '1, 2'],
      ['set-cookie', 'a'],
      ['set-cookie', 'b'],
    ],
  );
  assert.deepEqual(answer.headers.getSetCookie(), ['a', 'b']);
  const names = [];
  answer.headers.forEach((_value, name) => names.push(name));
  assert.deepEqual(
    names,
    [...answer.headers.entries()].map(([name]) => name),
  );
  assert.equal(answering({ status: 404, headers: [], body: null }).fetch('x').ok, false);
  assert.equal(answering({ status: 200, headers: [], body: null }).fetch('x').text(), '');
});
