// A host for unit tests in plain Node.js: what is kept is kept in memory, what goes out is refused until a test says
// otherwise, and everything said is recorded.

import { HostError } from './errors.js';
import { createFetch } from './fetch.js';
import { bindHost } from './host.js';
import { mockHostApplication } from './mock-host-application.js';
import { mockStorage } from './mock-storage.js';

const TOPIC = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
const EVENT_MAX_BYTES = 65_536;

/**
 * A host whose interfaces behave as the platform's, with a test's own functions in place of some.
 *
 * @param {import('./index.js').MockOverrides} [overrides] per interface: functions, by the binding's names. `config`
 *   and `secrets` may be plain objects of values instead, when none of the values is a function. A `HostError` in place
 *   of a secret's value is thrown instead (`expired`, `internal`), one in place of all secrets by every `get` (`denied`).
 *   `clients` and `services` may be arrays of what there is; without any, both are `not-allowed`.
 * @returns {import('./index.js').MockHostBindings}
 */
export function createMockHostBindings(overrides = {}) {
  const recorded = { logs: [], metrics: [], events: [], requests: [] };
  const { secrets, ...given } = overrides;
  const offered = {};
  for (const name of ['clients', 'services']) {
    if (!Array.isArray(given[name])) continue;
    offered[name] = given[name];
    delete given[name];
  }
  if (given.config && isData(given.config)) given.config = settingsOf(given.config);
  const world = { ...modules(recorded), ...mockHostApplication(offered, refusing('not-allowed')) };
  if (secrets && isData(secrets)) world.secrets = mockSecrets(secrets);
  else if (secrets) given.secrets = secrets;
  const host = bindHost(world);
  for (const [name, functions] of Object.entries(given)) {
    if (!(name in host) || name === 'fetch') throw new TypeError(`there is no interface ${name} to override`);
    host[name] = { ...host[name], ...functions };
  }
  host.fetch = createFetch(host.http);
  return Object.assign(host, { recorded });
}

function isData(object) {
  return Object.values(object).every((value) => typeof value !== 'function');
}

function settingsOf(values) {
  return { get: (key) => (Object.hasOwn(values, key) ? values[key] : null), getAll: () => ({ ...values }) };
}

function mockSecrets(values) {
  if (values instanceof HostError) return { get: refusing(values.code), listKeys: () => [] };
  return {
    get: (key) => {
      const held = Object.hasOwn(values, key) ? values[key] : new HostError('secrets', 'missing');
      return held instanceof HostError ? refusing(held.code)() : held;
    },
    listKeys: () => Object.keys(values).sort(),
  };
}

// The modules of a world, as an engine would import them.
function modules(recorded) {
  const log = (level) => (message) => recorded.logs.push({ level, message });
  const sample = (kind) => (name, value, labels) =>
    recorded.metrics.push({ kind, name, value, labels: Object.fromEntries(labels) });
  return {
    context: { getContext: mockContext },
    logging: { logInfo: log('info'), logWarn: log('warn'), logError: log('error') },
    user: { getUser: mockUser },
    userV2: { getUser: () => ({ ...mockUser(), clientId: undefined, additionalFields: [] }) },
    secrets: { get: refusing('missing'), listKeys: () => [] },
    http: {
      fetch: (request) => {
        recorded.requests.push(request);
        return refusing('not-allowed')();
      },
    },
    storage: mockStorage((code) => refusing(code)()),
    uiProxy: { callRoute: refusing('route-not-found') },
    scheduler: mockScheduler(),
    metrics: { counter: sample('counter'), gauge: sample('gauge'), histogram: sample('histogram') },
    config: { get: () => undefined, getAll: () => [] },
    events: {
      publish: (topic, payload) => {
        if (topic.length > 200 || !TOPIC.test(topic)) {
          refusing('a topic must be 1-200 characters: words separated by dots')();
        }
        if (payload.length > EVENT_MAX_BYTES) {
          refusing(`an event's payload may have at most ${EVENT_MAX_BYTES} bytes`)();
        }
        recorded.events.push({ topic, payload });
      },
    },
  };
}

function mockContext() {
  return {
    requestId: 'request-mock',
    tenantId: 'tenant-mock',
    extensionId: 'extension-mock',
    installId: 'install-mock',
    versionId: 'version-mock',
  };
}

function mockUser() {
  return {
    tenantId: 'tenant-mock',
    clientName: 'Mock client',
    userId: 'user-mock',
    userEmail: 'user@mock.example',
    userName: 'Mock user',
    userType: 'internal',
  };
}

// The error case of a WIT result, thrown as engines throw it.
function refusing(code) {
  return () => {
    throw Object.assign(new Error(code), { payload: code });
  };
}

function mockScheduler() {
  const answer = { success: false, error: 'the mock keeps no schedules: override scheduler', fieldErrors: undefined };
  return {
    listSchedules: () => [],
    getSchedule: () => undefined,
    createSchedule: () => ({ ...answer, scheduleId: undefined }),
    updateSchedule: () => ({ ...answer }),
    deleteSchedule: () => ({ success: false, error: answer.error }),
    getEndpoints: () => [],
  };
}
