// A host for unit tests in plain Node.js: what is kept is kept in memory, what goes out is refused until a test says
// otherwise, and everything said is recorded.

import { HostError } from './errors.js';
import { createFetch } from './fetch.js';
import { bindHost } from './host.js';

const PAGE_ENTRIES = 100; // as the platform pages `list-entries`

/**
 * A host whose interfaces behave as the platform's, with a test's own functions in place of some.
 *
 * @param {import('./index.js').MockOverrides} [overrides] per interface: functions, by the binding's names. `config`
 *   and `secrets` may be plain objects of values instead, when none of the values is a function.
 * @returns {import('./index.js').MockHostBindings}
 */
export function createMockHostBindings(overrides = {}) {
  const recorded = { logs: [], metrics: [], events: [], requests: [] };
  const given = { ...overrides };
  for (const name of ['config', 'secrets']) {
    if (given[name] && isData(given[name])) given[name] = valuesOf(name, given[name]);
  }
  const host = bindHost(modules(recorded));
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

function valuesOf(name, values) {
  if (name === 'config')
    return { get: (key) => (Object.hasOwn(values, key) ? values[key] : null), getAll: () => ({ ...values }) };
  const listKeys = () => Object.keys(values).sort();
  return {
    get: (key) => {
      if (!Object.hasOwn(values, key)) throw new HostError('secrets', 'missing');
      return values[key];
    },
    listKeys,
    list: listKeys,
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
    storage: mockStorage(),
    uiProxy: { callRoute: refusing('route-not-found') },
    scheduler: mockScheduler(),
    metrics: { counter: sample('counter'), gauge: sample('gauge'), histogram: sample('histogram') },
    config: { get: () => undefined, getAll: () => [] },
    events: { publish: (topic, payload) => void recorded.events.push({ topic, payload }) },
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

function mockStorage() {
  const namespaces = new Map();
  const entriesOf = (namespace) => namespaces.get(namespace) ?? new Map();
  const copy = (entry) => ({ ...entry, value: entry.value.slice() });
  return {
    get: (namespace, key) => {
      const entry = entriesOf(namespace).get(key);
      return entry === undefined ? refusing('missing')() : copy(entry);
    },
    put: ({ namespace, key, value, revision }) => {
      const held = entriesOf(namespace).get(key);
      if (revision !== undefined && revision !== held?.revision) refusing('conflict')();
      const entry = { namespace, key, value: value.slice(), revision: (held?.revision ?? 0) + 1 };
      if (!namespaces.has(namespace)) namespaces.set(namespace, new Map());
      namespaces.get(namespace).set(key, entry);
      return copy(entry);
    },
    delete: (namespace, key) => {
      if (!entriesOf(namespace).delete(key)) refusing('missing')();
    },
    listEntries: (namespace, cursor) =>
      [...entriesOf(namespace).values()]
        .filter(({ key }) => cursor === undefined || key > cursor)
        .sort((a, b) => (a.key < b.key ? -1 : 1))
        .slice(0, PAGE_ENTRIES)
        .map(copy),
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
