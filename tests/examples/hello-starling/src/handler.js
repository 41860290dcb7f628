// One small extension that shows each thing a guest can do, well-behaved or not. Both JavaScript examples share this
// file byte for byte; what differs between them is in engine.js.

import * as config from 'alga:extension/config';
import * as context from 'alga:extension/context';
import * as events from 'alga:extension/events';
import * as http from 'alga:extension/http';
import * as logging from 'alga:extension/logging';
import * as metrics from 'alga:extension/metrics';
import * as scheduler from 'alga:extension/scheduler';
import * as secrets from 'alga:extension/secrets';
import * as storage from 'alga:extension/storage';
import * as uiProxy from 'alga:extension/ui-proxy';
import * as user from 'alga:extension/user';
import * as userV2 from 'alga:extension/user-v2';
import { extension, language, randomBytes, utf8 } from './engine.js';

const MIB = 1024 * 1024;

const ROUTES = {
  'GET /hello': hello,
  'POST /echo': echo,
  'GET /context': showContext,
  'GET /log': log,
  'GET /denied': denied,
  'GET /random': random,
  'GET /headers': (request) => json(200, request.http.headers.map(({ name, value }) => [name, value])),
  'GET /status/:n': (_request, n) => ({ status: n, headers: [], body: undefined }),
  'GET /big/:n': (_request, n) => answer(200, 'text/plain', new Uint8Array(n).fill(0x78)),
  'GET /loop': loop,
  'GET /bomb': bomb,
  'GET /stack': () => json(200, { depth: dive(0) }),
  'GET /trap': trap,
};

export function handler(request) {
  const { method, url } = request.http;
  const [path] = url.split('?', 1);
  const exact = ROUTES[`${method} ${path}`];
  if (exact) return exact(request);
  const [, name, digits] = /^(\/[a-z]+)\/([0-9]{1,8})$/.exec(path) ?? [];
  const numbered = name && ROUTES[`${method} ${name}/:n`];
  if (numbered) return numbered(request, Number(digits));
  return json(404, { error: 'not found', path });
}

function answer(status, type, body) {
  return { status, headers: [{ name: 'content-type', value: type }], body };
}

function json(status, value) {
  return answer(status, 'application/json', utf8(JSON.stringify(value)));
}

function hello(request) {
  const { tenantId, extensionId } = request.context;
  return json(200, { message: 'hello', tenant: tenantId, extension: extensionId, language, path: request.http.url });
}

// The body stays the bytes it came as: turning ten megabytes into text and back would cost more than the call.
function echo(request) {
  const type = request.http.headers.find(({ name }) => name.toLowerCase() === 'content-type');
  return answer(200, type?.value ?? 'application/octet-stream', request.http.body);
}

function showContext() {
  return json(200, {
    context: record(context.getContext()),
    user: outcome(() => record(user.getUser())),
    user_v2: outcome(() => record(userV2.getUser())),
    config: Object.fromEntries(config.getAll()),
    region: config.get('region') ?? null,
  });
}

function log() {
  logging.logInfo('an info line');
  logging.logWarn('a warning line');
  logging.logError('an error line');
  if (typeof console !== 'undefined') {
    console.log('a line on stdout');
    console.error('a line on stderr');
  }
  return json(200, {});
}

// One call of each interface that must be granted; with no grant every one of them answers, and none of them traps.
function denied() {
  const request = { method: 'GET', url: 'https://example.com/', headers: [], body: undefined };
  const calls = {
    secrets: () => secrets.get('api-key'),
    http: () => http.fetch(request),
    storage: () => storage.get('notes', 'first'),
    'ui-proxy': () => uiProxy.callRoute('status', undefined),
    scheduler: () => scheduler.listSchedules(),
    events: () => events.publish(`${extension}.greeted`, utf8('{}')),
    metrics: () => metrics.counter('greetings', 1, [['kind', 'hello']]),
  };
  return json(200, Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, summary(call)])));
}

function random() {
  return json(200, { random: Array.from(randomBytes(16), (byte) => byte.toString(16).padStart(2, '0')).join('') });
}

function loop() {
  for (;;);
}

function bomb() {
  const held = [];
  for (;;) held.push(new Uint8Array(MIB).fill(1));
}

function dive(depth) {
  return dive(depth + 1) + 1;
}

function trap() {
  throw new Error('this handler always fails');
}

// A record with the names of the WIT, in snake case, as the Python example prints them.
function record(value) {
  const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [snake(name), field ?? null]));
}

// What a call answered, or the name of the error it answered with. A fault of the engine is not an answer.
function outcome(call) {
  try {
    return call();
  } catch (thrown) {
    return errorName(thrown);
  }
}

// The kind of answer only, never the value: one of them would be a secret.
function summary(call) {
  try {
    const value = call();
    return Array.isArray(value) && value.length === 0 ? '[]' : 'ok';
  } catch (thrown) {
    return errorName(thrown);
  }
}

// The error of a `result` is thrown bare by one engine and wrapped by the other.
function errorName(thrown) {
  const error = thrown?.payload ?? thrown;
  if (typeof error !== 'string') throw thrown;
  return error;
}
