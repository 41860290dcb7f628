// npm test: the routes with a host that lives in memory. What goes out is refused until a test says otherwise.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHandler, createMockHostBindings, decodeText } from '../vendor/extension-runtime/src/index.js';
import { routes } from '../src/routes.js';

function call(method, url, host = createMockHostBindings()) {
  const request = { context: host.context.get(), http: { method, url, headers: [], body: undefined } };
  const { status, body } = createHandler(routes, host)(request);
  return { status, body: JSON.parse(decodeText(body)) };
}

test('hello greets the world', () => {
  const host = createMockHostBindings();
  assert.deepEqual(call('GET', '/hello', host), {
    status: 200,
    body: { message: 'Hello, world!', tenant: 'tenant-mock' },
  });
  assert.deepEqual(host.recorded.logs, [{ level: 'info', message: 'greeting world' }]);
});

test('hello greets by name', () => {
  assert.equal(call('GET', '/hello?name=Ada').body.message, 'Hello, Ada!');
});

test('a name that is too long is refused', () => {
  assert.equal(call('GET', `/hello?name=${'x'.repeat(100)}`).status, 200);
  assert.equal(call('GET', `/hello?name=${'x'.repeat(101)}`).status, 400);
});

test('an unknown path is not found', () => {
  assert.equal(call('GET', '/goodbye').status, 404);
});
