// A guest that arranges its own schedules, and keeps what it is called with. Its twin in Python is app.py.

import '../vendor/extension-runtime/src/prelude.js';
import * as logging from 'alga:extension/logging';
import * as scheduler from 'alga:extension/scheduler';
import * as storage from 'alga:extension/storage';
import * as user from 'alga:extension/user';
import {
  HostError,
  Router,
  bindHost,
  createHandler,
  decodeText,
  emptyResponse,
  jsonResponse,
} from '../vendor/extension-runtime/src/index.js';

function outcome(work) {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return error.code;
  }
}

function tick(request, host) {
  const kept = {
    body: decodeText(request.bytes()),
    type: request.header('content-type'),
    user: outcome(() => host.user.getUser()),
  };
  host.storage.put({ namespace: 'ticks', key: request.header('x-idempotency-key'), value: JSON.stringify(kept) });
  return emptyResponse();
}

function ticks(_request, host) {
  const entries = host.storage.list('ticks');
  return jsonResponse(
    entries.map((one) => ({ key: one.key, times: Number(one.revision), ...JSON.parse(decodeText(one.value)) })),
  );
}

// Python's names, so that one test reads both guests.
function snake(record) {
  if (Array.isArray(record)) return record.map(snake);
  if (record === null || typeof record !== 'object') return record;
  const rename = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [rename(name), value]));
}

function arrange(request, host) {
  const { id, ...asked } = request.json();
  const functions = {
    list: () => host.scheduler.list(),
    get: () => host.scheduler.get(id),
    create: () => host.scheduler.create(asked),
    update: () => host.scheduler.update(id, asked),
    delete: () => host.scheduler.delete(id),
    endpoints: () => host.scheduler.getEndpoints(),
  };
  const found = outcome(functions[request.params.function]);
  return jsonResponse(typeof found === 'string' ? { refused: found } : snake(found ?? null));
}

const router = new Router({
  '/tick': { POST: tick },
  '/ticks': { GET: ticks },
  '/fail': {
    GET: () => {
      throw new Error('it always fails');
    },
  },
  '/scheduler/:function': { POST: arrange },
});

export const handler = createHandler(router, bindHost({ logging, scheduler, storage, user }));
