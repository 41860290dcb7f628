// A guest that publishes, and keeps what it is told. Its twin in Python is app.py.

import '../vendor/extension-runtime/src/prelude.js';
import * as events from 'alga:extension/events';
import * as logging from 'alga:extension/logging';
import * as storage from 'alga:extension/storage';
import {
  HostError,
  Router,
  bindHost,
  createHandler,
  decodeText,
  emptyResponse,
  jsonResponse,
  readEvent,
} from '../vendor/extension-runtime/src/index.js';

function kept(host, namespace, key, otherwise) {
  try {
    return JSON.parse(decodeText(host.storage.get(namespace, key).value));
  } catch (error) {
    if (error instanceof HostError && error.code === 'missing') return otherwise;
    throw error;
  }
}

function keep(host, namespace, key, value) {
  host.storage.put({ namespace, key, value: JSON.stringify(value) });
}

function publish(request, host) {
  try {
    host.events.publish(request.params.topic, request.bytes());
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return jsonResponse({ error: error.message });
  }
  return jsonResponse({});
}

function receive(request, host) {
  const event = readEvent(request);
  const status = kept(host, 'mood', 'status', 204);
  if (status >= 300) return jsonResponse({ error: 'not in the mood' }, { status });
  keep(host, 'seen', event.id, {
    id: event.id,
    key: request.header('x-idempotency-key'),
    source: event.source,
    type: event.type,
    tenant: event.tenant,
    origin_id: event.originId,
    data: event.data,
    payload: event.payload && [...event.payload],
    times: 1 + kept(host, 'seen', event.id, { times: 0 }).times,
  });
  if (event.type.endsWith('.again')) {
    try {
      host.events.publish(event.type, JSON.stringify({ after: event.id }));
    } catch (error) {
      keep(host, 'seen', `refused ${event.id}`, { refused: error.message });
    }
  }
  return emptyResponse();
}

const router = new Router({
  '/publish/:topic': { POST: publish },
  '/mood/:status': {
    PUT: (request, host) => {
      keep(host, 'mood', 'status', Number(request.params.status));
      return emptyResponse();
    },
  },
  '/seen': { GET: (_request, host) => jsonResponse(host.storage.listEntries('seen').map((entry) => JSON.parse(decodeText(entry.value)))) },
  '/events': { POST: receive },
});

export const handler = createHandler(router, bindHost({ events, logging, storage }));
