// The host for tests behaves as the platform's does, so that a handler that passes here works there.

import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';
import * as runtime from '../../../../runner/sdk/js/src/index.js';

const { HostError, createMockHostBindings, decodeText } = runtime;
const SOURCE = new URL('../../../../runner/sdk/js/', import.meta.url);
const code = (wanted) => (error) => error instanceof HostError && error.code === wanted;

test('without overrides, what is granted by default answers and everything else is refused', () => {
  const host = createMockHostBindings();
  assert.equal(host.context.getContext().tenantId, 'tenant-mock');
  assert.equal(host.user.getUser().userType, 'internal');
  assert.deepEqual(host.user.getUserV2().additionalFields, []);
  assert.deepEqual([host.config.get('x'), host.config.getAll()], [null, {}]);
  assert.throws(() => host.secrets.get('x'), code('missing'));
  assert.deepEqual(host.secrets.listKeys(), []);
  assert.throws(() => host.http.fetch({ url: 'https://a/' }), code('not-allowed'));
  assert.throws(() => host.uiProxy.callRoute('x'), code('route-not-found'));
  assert.deepEqual([host.scheduler.list(), host.scheduler.get('x'), host.scheduler.getEndpoints()], [[], null, []]);
  for (const made of [
    host.scheduler.create({ endpoint: '/', cron: '*' }),
    host.scheduler.update('x', {}),
    host.scheduler.delete('x'),
  ]) {
    assert.equal(made.success, false);
  }
});

test('what is said is recorded', () => {
  const host = createMockHostBindings();
  host.logging.info('a');
  host.logging.logError('b');
  host.metrics.counter('c', 2, { k: 'v' });
  host.events.publish('t', 'p');
  assert.throws(() => host.fetch('https://a/'), HostError);
  const { logs, metrics, events, requests } = host.recorded;
  assert.deepEqual(logs, [
    { level: 'info', message: 'a' },
    { level: 'error', message: 'b' },
  ]);
  assert.deepEqual(metrics, [{ kind: 'counter', name: 'c', value: 2, labels: { k: 'v' } }]);
  assert.deepEqual([events[0].topic, decodeText(events[0].payload)], ['t', 'p']);
  assert.equal(requests[0].url, 'https://a/');
});

test('its storage counts revisions, refuses stale ones and pages by key', () => {
  const { storage } = createMockHostBindings();
  const put = (key, revision) => storage.put({ namespace: 'n', key, value: key, revision });
  assert.equal(put('a').revision, 1);
  assert.equal(put('a').revision, 2);
  assert.equal(put('a', 2).revision, 3);
  assert.throws(() => put('a', 2), code('conflict'));
  assert.throws(() => put('b', 1), code('conflict'));
  assert.equal(decodeText(storage.get('n', 'a').value), 'a');
  storage.delete('n', 'a');
  assert.throws(() => storage.get('n', 'a'), code('missing'));
  assert.throws(() => storage.delete('n', 'a'), code('missing'));
  for (let at = 0; at < 150; at++) put(`k${String(at).padStart(3, '0')}`);
  const first = storage.listEntries('n');
  const rest = storage.listEntries('n', first.at(-1).key);
  assert.deepEqual([first.length, rest.length, rest[0].key], [100, 50, 'k100']);
  assert.deepEqual(storage.list('other'), []);
});

test('values kept by the mock are its own: changing an answer changes nothing', () => {
  const { storage } = createMockHostBindings();
  const value = Uint8Array.of(1);
  storage.put({ namespace: 'n', key: 'k', value }).value[0] = 2;
  value[0] = 3;
  storage.get('n', 'k').value[0] = 4;
  assert.deepEqual(storage.get('n', 'k').value, Uint8Array.of(1));
});

test('overrides replace single functions, and values stand for config and secrets', () => {
  const host = createMockHostBindings({
    config: { region: 'emea' },
    secrets: { key: 'value' },
    http: { fetch: ({ url }) => ({ status: 200, headers: [], body: new TextEncoder().encode(url) }) },
    user: { getUser: () => ({ userId: 'me' }) },
  });
  assert.deepEqual(
    [host.config.get('region'), host.config.get('constructor'), host.config.getAll()],
    ['emea', null, { region: 'emea' }],
  );
  assert.deepEqual([host.secrets.get('key'), host.secrets.list()], ['value', ['key']]);
  assert.throws(() => host.secrets.get('other'), code('missing'));
  assert.equal(host.fetch('https://a/').text(), 'https://a/');
  assert.deepEqual([host.user.getUser().userId, host.user.getUserV2().userId], ['me', 'user-mock']);
  assert.equal(createMockHostBindings({ secrets: { get: () => 'x' } }).secrets.get('any'), 'x');
  assert.throws(() => createMockHostBindings({ absent: {} }), /no interface absent/);
});

test('secrets can be expired, broken or denied as on the platform', () => {
  const { secrets } = createMockHostBindings({ secrets: { b: new HostError('secrets', 'expired'), a: '1' } });
  assert.deepEqual([secrets.get('a'), secrets.listKeys()], ['1', ['a', 'b']]);
  assert.throws(() => secrets.get('b'), code('expired'));
  assert.throws(() => secrets.get('c'), code('missing'));
  assert.throws(() => secrets.get('toString'), code('missing'));
  assert.throws(() => secrets.get(5), TypeError);
  const denied = createMockHostBindings({ secrets: new HostError('secrets', 'denied') }).secrets;
  assert.throws(() => denied.get('a'), code('denied'));
  assert.deepEqual(denied.listKeys(), []);
});

// ---- the package ------------------------------------------------------------------------------------------------------

test('what is exported has a type, and what has a type that is a value is exported', async () => {
  const files = ['src/index.d.ts', 'src/events.d.ts'].map((name) => readFile(new URL(name, SOURCE), 'utf8'));
  const types = (await Promise.all(files)).join('\n');
  const declared = [...types.matchAll(/^export (?:function|class|const) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual([...new Set(declared)].sort(), Object.keys(runtime).sort());
});

test('every file the package promises is there, and imports nothing from outside of it but the world', async () => {
  const described = JSON.parse(await readFile(new URL('package.json', SOURCE), 'utf8'));
  for (const { types, default: code } of Object.values(described.exports)) {
    await Promise.all([types, code].map((name) => readFile(new URL(name, SOURCE))));
  }
  assert.equal(described.dependencies, undefined);
  for (const name of (await readdir(new URL('src/', SOURCE))).filter((name) => name.endsWith('.js'))) {
    const text = await readFile(new URL(`src/${name}`, SOURCE), 'utf8');
    for (const [, specifier] of text.matchAll(/^(?:import|export)\b.*?from '([^']+)'/gm)) {
      const world = ['bindings.js', 'prelude.js'].includes(name) && /^(alga:extension\/|wasi:random\/)/.test(specifier);
      assert.ok(world || /^\.\/[a-z-]+\.js$/.test(specifier), `${name} imports ${specifier}`);
    }
  }
});
