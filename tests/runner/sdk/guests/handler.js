// A guest that does what its tests ask for: every part of the runtime, inside a real engine.

import '../vendor/extension-runtime/src/prelude.js';
import {
  HttpError,
  Router,
  bytesResponse,
  createHandler,
  emptyResponse,
  jsonResponse,
  textResponse,
} from '../vendor/extension-runtime/src/index.js';
import { fetch, host } from '../vendor/extension-runtime/src/bindings.js';

const URL_PARTS = ['href', 'origin', 'host', 'port', 'pathname', 'search', 'hash'];
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

function attempt(call) {
  try {
    return call();
  } catch (error) {
    return error.name === 'HostError' ? `${error.interface}: ${error.code}: ${error.message}` : error.name;
  }
}

function urls(request) {
  return jsonResponse(
    request.json().map(([url, base]) =>
      attempt(() => {
        const parsed = new URL(url, base ?? undefined);
        return Object.fromEntries(URL_PARTS.map((name) => [name, parsed[name]]));
      }),
    ),
  );
}

function texts(request) {
  const decode = (options) => attempt(() => new TextDecoder('utf-8', options).decode(request.bytes()));
  return jsonResponse({ lossy: decode({}), strict: decode({ fatal: true }), marked: decode({ ignoreBOM: true }) });
}

function random() {
  return jsonResponse({
    bytes: hex(crypto.getRandomValues(new Uint8Array(16))),
    uuid: crypto.randomUUID(),
    number: Math.random(),
    another: Math.random(),
  });
}

function say() {
  console.log('a %s', 'line', { of: 1n });
  console.warn(new TypeError('a warning'));
  console.error('an error');
  return emptyResponse();
}

function store() {
  const { storage } = host;
  const put = storage.put({ namespace: 'n', key: 'k', value: 'ä', revision: 7 });
  return jsonResponse({
    put: { ...put, value: hex(put.value) },
    got: attempt(() => storage.get('n', 'absent')),
    listed: storage.listEntries('n', 'j').map(({ key, revision }) => [key, revision]),
    deleted: storage.delete('n', 'k') ?? 'nothing',
  });
}

function everything() {
  host.metrics.counter('calls', 1, { kind: 'test' });
  return jsonResponse({
    context: host.context.getContext(),
    user: attempt(() => host.user.getUser()),
    userV2: attempt(() => host.user.getUserV2()),
    config: [host.config.get('region'), host.config.get('absent'), host.config.getAll()],
    secrets: [attempt(() => host.secrets.get('k')), host.secrets.listKeys()],
    proxied: attempt(() => hex(host.uiProxy.callRoute('status', 'x'))),
    published: attempt(() => host.events.publish('t', '{}')),
    schedules: [
      host.scheduler.listSchedules(),
      host.scheduler.getSchedule('absent'),
      host.scheduler.createSchedule({ endpoint: '/x', cron: '* * * * *', enabled: true }),
    ],
  });
}

function fetched(request) {
  const answer = fetch(request.query.get('url'), {
    method: 'post',
    body: new URLSearchParams({ a: 'b c' }),
    headers: { 'x-a': '1' },
  });
  return jsonResponse({
    status: answer.status,
    ok: answer.ok,
    type: answer.headers.get('Content-Type'),
    ...answer.json(),
  });
}

const router = new Router({
  '/urls': { POST: urls },
  '/texts': { POST: texts },
  '/encoded': { POST: (request) => bytesResponse(new TextEncoder().encode(request.json().text)) },
  '/random': { POST: random },
  '/console': { POST: say },
  '/storage': { POST: store },
  '/everything': { POST: everything },
  '/fetch': { POST: fetched },
  '/items/:id': { POST: (request) => jsonResponse({ ...request.params, q: request.query.getAll('q') }) },
  '/only-get': { GET: () => emptyResponse() },
  '/query': { POST: (request) => textResponse(`${new URLSearchParams(request.query)}`) },
  '/surrogate': { POST: () => ({ headers: { 'x-a': 'a\ud800' }, body: host.config.get('\udc00') ?? 'none\ud800' }) },
  '/http-error': {
    POST: () => {
      throw new HttpError(418, 'a teapot', { short: true });
    },
  },
  '/throw': {
    POST: () => {
      throw new RangeError('for the author');
    },
  },
  '/argument': { POST: () => host.config.get(5) },
  '/nothing': { POST: () => undefined },
  '/promise': { POST: async () => textResponse(await 'later') },
  '/recursion': {
    POST: function deeper() {
      return deeper() + 1;
    },
  },
  '/memory': {
    POST: () => {
      for (const held = []; ;) held.push(new Uint8Array(1 << 20).fill(1));
    },
  },
});

export const handler = createHandler(router, host);
