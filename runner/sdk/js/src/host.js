// The host's interfaces as an author calls them: synchronous, camelCase, with the same values on each engine.
//
// Engines differ at the border: `none` is null or undefined, u64 is a number or a bigint, and an argument of a wrong
// type is a trap (QuickJS) or silently something else (StarlingMonkey). So arguments are checked before they cross,
// what comes back is made alike, and the error of a `result` becomes a `HostError`.

import { bytes, flag, optionalBytes, optionalText, revision, text } from './arguments.js';
import { HostError } from './errors.js';
import { createFetch } from './fetch.js';
import { bindClients, bindFunctions, bindInvoicing, bindServices } from './host-application.js';
import { headerList } from './responses.js';

const SENT_MAX_BYTES = 2_621_440; // a little more crosses to the host at once; too much of it ends the guest

/** Each binding: its WIT interface, and how to wrap it. */
const INTERFACES = {
  context: ['context', bindContext],
  logging: ['logging', bindLogging],
  secrets: ['secrets', bindSecrets],
  http: ['http', bindHttp],
  storage: ['storage', bindStorage],
  uiProxy: ['ui-proxy', bindUiProxy],
  scheduler: ['scheduler', bindScheduler],
  metrics: ['metrics', bindMetrics],
  config: ['config', bindConfig],
  events: ['events', bindEvents],
  invoicing: ['invoicing', bindInvoicing],
  clients: ['clients', bindClients],
  services: ['services', bindServices],
};

/**
 * The host of those interfaces that a guest's world has.
 *
 * @param {import('./index.js').WorldModules} modules each `import * as x from 'alga:extension/x'`, by the binding's
 *   name; `user` and `userV2` together become `host.user`. What is left out is an error that says so when it is used.
 * @returns {import('./index.js').HostBindings}
 */
export function bindHost(modules) {
  const host = {};
  for (const [name, [iface, bind]] of Object.entries(INTERFACES)) {
    if (modules[name] !== undefined) host[name] = bind(modules[name], calls(iface));
    else unbound(host, name, iface);
  }
  if (modules.user !== undefined || modules.userV2 !== undefined) host.user = bindUser(modules);
  else unbound(host, 'user', 'user');
  if (modules.http !== undefined) host.fetch = createFetch(host.http);
  else unbound(host, 'fetch', 'http');
  return host;
}

/**
 * A service of the host application that the operator declared: its functions, with errors and values as `bindHost`'s.
 *
 * @param {string} name of its interface.
 * @param {object} module `import * as x from 'alga:extension/NAME'`.
 */
export function bindProvider(name, module) {
  return bindFunctions(module, calls(name));
}

function unbound(host, name, iface) {
  const reason = `host.${name} is not bound: import all of 'alga:extension/${iface}' and give it to bindHost`;
  const refuse = () => {
    throw new Error(reason);
  };
  Object.defineProperty(host, name, { get: refuse, configurable: true, enumerable: false });
}

// Runs calls of one interface: errors typed, answers alike.
function calls(iface) {
  return (call) => {
    try {
      return alike(call());
    } catch (thrown) {
      const told = thrown?.payload;
      if (typeof told !== 'string') throw thrown;
      throw iface === 'events' ? new HostError(iface, 'refused', told) : new HostError(iface, told);
    }
  };
}

function alike(value) {
  if (value === undefined) return null;
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.map(alike);
  const record = {};
  for (const name of Object.keys(value)) record[name] = alike(value[name]);
  return record;
}

// ---- one interface each -----------------------------------------------------------------------------------------

function bindContext(module, run) {
  const getContext = () => run(() => module.getContext());
  return { getContext, get: getContext };
}

function bindLogging(module, run) {
  const at = (write) => (message) => void run(() => write(text(message, 'a message')));
  const logInfo = at((message) => module.logInfo(message));
  const logWarn = at((message) => module.logWarn(message));
  const logError = at((message) => module.logError(message));
  return { logInfo, logWarn, logError, info: logInfo, warn: logWarn, error: logError };
}

function bindSecrets(module, run) {
  const listKeys = () => run(() => module.listKeys());
  return { get: (key) => run(() => module.get(text(key, 'the name of a secret'))), listKeys, list: listKeys };
}

function bindHttp(module, run) {
  const fetch = (request) => {
    const body = optionalBytes(request.body);
    if (body?.length > SENT_MAX_BYTES) {
      throw new HostError('http', 'transport', `a body has at most ${SENT_MAX_BYTES} bytes; send it in parts`);
    }
    return run(() =>
      module.fetch({
        method: text(request.method ?? 'GET', 'a method'),
        url: text(`${request.url}`, 'a url'),
        headers: headerList(request.headers),
        body,
      }),
    );
  };
  return { fetch };
}

function bindStorage(module, run) {
  const listEntries = (namespace, cursor = undefined) =>
    run(() => module.listEntries(text(namespace, 'a namespace'), optionalText(cursor, 'a cursor')));
  return {
    get: (namespace, key) => run(() => module.get(text(namespace, 'a namespace'), text(key, 'a key'))),
    put: (entry) =>
      run(() =>
        module.put({
          namespace: text(entry.namespace, 'a namespace'),
          key: text(entry.key, 'a key'),
          value: bytes(entry.value),
          revision: revision(entry.revision),
        }),
      ),
    delete: (namespace, key) => void run(() => module.delete(text(namespace, 'a namespace'), text(key, 'a key'))),
    listEntries,
    list: listEntries,
  };
}

function bindUiProxy(module, run) {
  const callRoute = (route, payload = undefined) =>
    run(() => module.callRoute(text(route, 'a route'), optionalBytes(payload)));
  return { callRoute, call: callRoute };
}

function bindUser({ user, userV2 }) {
  const absent = (name) => () => {
    throw new Error(`alga:extension/${name} is not bound: give bindHost its module`);
  };
  return {
    getUser: user ? () => calls('user')(() => user.getUser()) : absent('user'),
    getUserV2: userV2 ? () => calls('user-v2')(() => userV2.getUser()) : absent('user-v2'),
  };
}

function bindScheduler(module, run) {
  const input = (given, asText) => ({
    endpoint: asText(given.endpoint, 'an endpoint'),
    cron: asText(given.cron, 'a cron line'),
    timezone: optionalText(given.timezone, 'a time zone'),
    enabled: flag(given.enabled, 'enabled'),
    name: optionalText(given.name, 'a name'),
    payload: optionalText(given.payload, 'a payload'),
  });
  const listSchedules = () => run(() => module.listSchedules());
  const getSchedule = (id) => run(() => module.getSchedule(text(id, 'an id')));
  const createSchedule = (given) => run(() => module.createSchedule(input(given, text)));
  const updateSchedule = (id, given) => run(() => module.updateSchedule(text(id, 'an id'), input(given, optionalText)));
  const deleteSchedule = (id) => run(() => module.deleteSchedule(text(id, 'an id')));
  const getEndpoints = () => run(() => module.getEndpoints());
  return {
    ...{ listSchedules, getSchedule, createSchedule, updateSchedule, deleteSchedule, getEndpoints },
    ...{
      list: listSchedules,
      get: getSchedule,
      create: createSchedule,
      update: updateSchedule,
      delete: deleteSchedule,
    },
  };
}

function bindMetrics(module, run) {
  const sample = (name, value, labels = {}) => {
    if (typeof value !== 'number') throw new TypeError('a sample must be a number');
    const pairs = Array.isArray(labels) ? labels : Object.entries(labels);
    return [
      text(name, 'a name'),
      value,
      pairs.map(([label, held]) => [text(label, 'a label'), text(`${held}`, 'a value')]),
    ];
  };
  return {
    counter: (name, value = 1, labels = {}) => void run(() => module.counter(...sample(name, value, labels))),
    gauge: (name, value, labels = {}) => void run(() => module.gauge(...sample(name, value, labels))),
    histogram: (name, value, labels = {}) => void run(() => module.histogram(...sample(name, value, labels))),
  };
}

function bindConfig(module, run) {
  return {
    get: (key) => run(() => module.get(text(key, 'a key'))),
    getAll: () => Object.fromEntries(run(() => module.getAll())),
  };
}

function bindEvents(module, run) {
  return { publish: (topic, payload) => void run(() => module.publish(text(topic, 'a topic'), bytes(payload))) };
}
