// One small extension that shows each thing a guest can do, well-behaved or not. Both JavaScript examples share this
// file byte for byte; what differs between them is in engine.js. The build puts the runtime into vendor/.

import '../vendor/extension-runtime/src/prelude.js';
import { host } from '../vendor/extension-runtime/src/bindings.js';
import {
  HostError,
  HttpError,
  Router,
  bytesResponse,
  createHandler,
  emptyResponse,
  jsonResponse,
} from '../vendor/extension-runtime/src/index.js';
import { extension, language } from './engine.js';

const MIB = 1024 * 1024;
const STORAGE_STATUS = { missing: 404, conflict: 409, denied: 403, internal: 500 };

const router = new Router({
  '/hello': { GET: hello },
  '/echo': { POST: echo },
  '/context': { GET: showContext },
  '/log': { GET: log },
  '/denied': { GET: denied },
  '/fetch': { POST: sendFor },
  '/entry': { GET: readEntry, PUT: writeEntry, DELETE: removeEntry },
  '/entries': { GET: listEntries },
  '/random': { GET: random },
  '/headers': { GET: (request) => jsonResponse(request.http.headers.map(({ name, value }) => [name, value])) },
  '/status/:code': { GET: (request) => emptyResponse(number(request, 'code')) },
  '/big/:bytes': { GET: big },
  '/loop': { GET: loop },
  '/bomb': { GET: bomb },
  '/stack': { GET: () => jsonResponse({ depth: dive(0) }) },
});
const answer = createHandler(router, host);

// The runtime answers 500 for a handler that throws. To show what the platform makes of a guest that gives no answer at
// all, this one route goes around it.
export function handler(request) {
  return request.http.url === '/trap' ? trap() : answer(request);
}

function hello(request) {
  const { tenantId, extensionId } = request.context;
  return jsonResponse({ message: 'hello', tenant: tenantId, extension: extensionId, language, path: request.url });
}

// The body stays the bytes it came as: turning ten megabytes into text and back would cost more than the call.
function echo(request) {
  const type = request.header('content-type') ?? 'application/octet-stream';
  return { headers: { 'content-type': type }, body: request.http.body };
}

function showContext() {
  return jsonResponse({
    context: record(host.context.getContext()),
    user: outcome(() => record(host.user.getUser())),
    user_v2: outcome(() => record(host.user.getUserV2())),
    config: host.config.getAll(),
    region: host.config.get('region'),
  });
}

function log() {
  host.logging.logInfo('an info line');
  host.logging.logWarn('a warning line');
  host.logging.logError('an error line');
  console.log('a line on stdout');
  console.error('a line on stderr');
  return jsonResponse({});
}

// One call of each interface that must be granted; with no grant every one of them answers, and none of them traps.
function denied() {
  const calls = {
    secrets: () => host.secrets.get('api-key'),
    http: () => host.fetch('https://example.com/'),
    storage: () => host.storage.get('notes', 'first'),
    'ui-proxy': () => host.uiProxy.callRoute('status'),
    scheduler: () => host.scheduler.listSchedules(),
    events: () => host.events.publish(`${extension}.greeted`, '{}'),
    metrics: () => host.metrics.counter('greetings', 1, { kind: 'hello' }),
  };
  return jsonResponse(Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, summary(call)])));
}

// A request of the caller's choice, as far as the install may go; the host's answer, or its word for why there is none.
function sendFor(request) {
  const { url, ...init } = request.json();
  const told = outcome(
    () => fetch(url, init),
    (answer) => ({ status: answer.status, headers: [...answer.headers], body: answer.text() }),
  );
  return jsonResponse(typeof told === 'string' ? { error: told } : told);
}

// The install's storage over HTTP. Namespace and key stand in the query, where any character can.
function readEntry({ query }) {
  const { value, revision } = stored(() => host.storage.get(query.get('namespace'), query.get('key')));
  return bytesResponse(value, { headers: { 'x-ext-app-revision': revision } });
}

function writeEntry(request) {
  const { query } = request;
  const revision = query.has('revision') ? Number(query.get('revision')) : undefined;
  const entry = { namespace: query.get('namespace'), key: query.get('key'), value: request.bytes(), revision };
  const written = stored(() => host.storage.put(entry));
  return jsonResponse({ revision: written.revision, bytes: written.value.length });
}

function removeEntry({ query }) {
  stored(() => host.storage.delete(query.get('namespace'), query.get('key')));
  return emptyResponse();
}

function listEntries({ query }) {
  const entries = stored(() => host.storage.listEntries(query.get('namespace'), query.get('cursor')));
  return jsonResponse(entries.map(({ key, value, revision }) => [key, revision, value.length]));
}

function stored(call) {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    throw new HttpError(STORAGE_STATUS[error.code], error.code);
  }
}

function random() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return jsonResponse({ random: Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('') });
}

function big(request) {
  const body = new Uint8Array(number(request, 'bytes')).fill(0x78);
  return { headers: { 'content-type': 'text/plain' }, body };
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

function number(request, name) {
  if (!/^[0-9]{1,8}$/.test(request.params[name])) throw new HttpError(404, 'not found', { path: request.path });
  return Number(request.params[name]);
}

// A record with the names of the WIT, in snake case, as the Python example prints them.
function record(value) {
  const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [snake(name), field]));
}

// What a call answered, or the error it answered with. A fault of the engine is not an answer.
function outcome(call, told = (value) => value) {
  try {
    return told(call());
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return error.code === 'refused' ? error.message : error.code;
  }
}

// The kind of answer only, never the value: one of them would be a secret.
function summary(call) {
  return outcome(call, (value) => (Array.isArray(value) && value.length === 0 ? '[]' : 'ok'));
}
