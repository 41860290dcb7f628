// An extension that calls every function there is, each by its name in WIT: what is possible, and how it is written.
//
// `POST /call/INTERFACE/FUNCTION` with arguments as JSON answers `{"value": …}` or `{"error": …}`. Its twin is app.py.

import '../vendor/extension-runtime/src/prelude.js';
import * as clients from 'alga:extension/clients';
import * as config from 'alga:extension/config';
import * as context from 'alga:extension/context';
import * as events from 'alga:extension/events';
import * as http from 'alga:extension/http';
import * as invoicing from 'alga:extension/invoicing';
import * as logging from 'alga:extension/logging';
import * as metrics from 'alga:extension/metrics';
import * as scheduler from 'alga:extension/scheduler';
import * as secrets from 'alga:extension/secrets';
import * as services from 'alga:extension/services';
import * as storage from 'alga:extension/storage';
import * as uiProxy from 'alga:extension/ui-proxy';
import * as user from 'alga:extension/user';
import * as userV2 from 'alga:extension/user-v2';
import {
  HostError,
  HttpError,
  Router,
  bindHost,
  createHandler,
  decodeText,
  jsonResponse,
} from '../vendor/extension-runtime/src/index.js';

const calls = {
  'context/get-context': (host) => host.context.getContext(),
  'logging/log-info': (host, { message }) => host.logging.logInfo(message),
  'logging/log-warn': (host, { message }) => host.logging.logWarn(message),
  'logging/log-error': (host, { message }) => host.logging.logError(message),
  'user/get-user': (host) => host.user.getUser(),
  'user-v2/get-user': (host) => host.user.getUserV2(),
  'config/get': (host, { key }) => host.config.get(key),
  'config/get-all': (host) => Object.entries(host.config.getAll()),
  'secrets/get': (host, { key }) => host.secrets.get(key),
  'secrets/list-keys': (host) => host.secrets.listKeys(),
  'http/fetch': (host, request) => host.http.fetch(request),
  'storage/get': (host, { namespace, key }) => host.storage.get(namespace, key),
  'storage/put': (host, record) => host.storage.put(record),
  'storage/delete': (host, { namespace, key }) => host.storage.delete(namespace, key),
  'storage/list-entries': (host, { namespace, cursor }) => host.storage.listEntries(namespace, cursor),
  'ui-proxy/call-route': (host, { route, payload }) => host.uiProxy.callRoute(route, payload),
  'scheduler/list-schedules': (host) => host.scheduler.listSchedules(),
  'scheduler/get-schedule': (host, { id }) => host.scheduler.getSchedule(id),
  'scheduler/create-schedule': (host, schedule) => host.scheduler.createSchedule(schedule),
  'scheduler/update-schedule': (host, { id, changes }) => host.scheduler.updateSchedule(id, changes),
  'scheduler/delete-schedule': (host, { id }) => host.scheduler.deleteSchedule(id),
  'scheduler/get-endpoints': (host) => host.scheduler.getEndpoints(),
  'metrics/counter': (host, { name, value, labels }) => host.metrics.counter(name, value, labels),
  'metrics/gauge': (host, { name, value, labels }) => host.metrics.gauge(name, value, labels),
  'metrics/histogram': (host, { name, value, labels }) => host.metrics.histogram(name, value, labels),
  'events/publish': (host, { topic, payload }) => host.events.publish(topic, payload),
  'invoicing/create-manual-invoice': (host, { client, service, quantity, description, rate }) =>
    host.invoicing.createManualInvoice({
      clientId: client,
      items: [{ serviceId: service, quantity, description, rate }],
    }),
  'clients/list-clients': (host, { search }) => host.clients.listClients({ search }),
  'clients/get-client': (host, { id }) => host.clients.getClient(id),
  'services/list-services': (host, { kind }) => host.services.listServices({ itemKind: kind }),
  'services/get-service': (host, { id }) => host.services.getService(id),
  'wasi:clocks/wall-clock': () => Date.now(),
  'wasi:clocks/monotonic-clock': () => performance.now(), // StarlingMonkey has it
  'wasi:random/random': () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join(''),
  'wasi:cli/stdout': (_host, { message }) => console.log(message), // likewise; on QuickJS a line of the log
  'wasi:cli/stderr': (_host, { message }) => console.error(message),
};

const router = new Router({ '/call/:interface/:function': { POST: call } });

export const handler = createHandler(
  router,
  bindHost({
    clients,
    config,
    context,
    events,
    http,
    invoicing,
    logging,
    metrics,
    scheduler,
    secrets,
    services,
    storage,
    uiProxy,
    user,
    userV2,
  }),
);

// One call; WASI has its functions in interfaces of packages, which here stand in for both names.
function call(request, host) {
  const found = calls[`${request.params.interface}/${request.params.function}`];
  if (found === undefined) throw new HttpError(404, 'this guest cannot call that');
  try {
    return jsonResponse({ value: plain(found(host, request.json())) });
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return jsonResponse({ error: error.code === 'refused' ? error.message : error.code });
  }
}

// A value as JSON has it: bytes as text, headers as pairs, nothing left out.
function plain(value) {
  if (ArrayBuffer.isView(value)) return decodeText(value);
  if (typeof value !== 'object' || value === null) return value ?? null;
  if (Array.isArray(value)) return value.map(plain);
  if (`${Object.keys(value)}` === 'name,value') return Object.values(value);
  return Object.fromEntries(Object.entries(value).map(([name, held]) => [name, plain(held)]));
}
