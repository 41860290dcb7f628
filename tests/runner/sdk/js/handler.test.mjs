// Between the world and a handler: what goes in, what comes out, and what becomes of a throw.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  HandlerRequest,
  HostError,
  HttpError,
  bytesResponse,
  createHandler,
  createMockHostBindings,
  decodeText,
  emptyResponse,
  jsonResponse,
  textResponse,
} from '../../../../runner/sdk/js/src/index.js';

const CONTEXT = { requestId: 'r', tenantId: 't', extensionId: 'e', installId: null, versionId: null };

function request(url = '/', { method = 'GET', headers = [], body = undefined } = {}) {
  return { context: CONTEXT, http: { method, url, headers, body } };
}

function run(handler, given = request()) {
  const host = createMockHostBindings();
  return { answer: createHandler(handler, host)(given), logs: host.recorded.logs };
}

const body = (answer) => JSON.parse(decodeText(answer.body));

// ---- requests ---------------------------------------------------------------------------------------------------

test('a request offers path, query, headers and context', () => {
  const given = new HandlerRequest(
    request('/a%20b?x=1&x=2#', {
      headers: [
        { name: 'X-One', value: 'a' },
        { name: 'x-one', value: 'b' },
      ],
    }),
  );
  assert.deepEqual([given.method, given.url, given.path], ['GET', '/a%20b?x=1&x=2#', '/a%20b']);
  assert.deepEqual(given.query.getAll('x'), ['1', '2#']);
  assert.equal(given.query, given.query);
  assert.deepEqual([given.header('x-ONE'), given.header('absent')], ['a', undefined]);
  assert.equal(given.context.tenantId, 't');
  assert.deepEqual(given.params, {});
  assert.equal(new HandlerRequest(request('/a')).query.size, 0);
});

test('a body is read as bytes, text and JSON', () => {
  const bytes = new TextEncoder().encode('{"a":"ä"}');
  const given = new HandlerRequest(request('/', { body: bytes }));
  assert.equal(given.bytes(), bytes);
  assert.equal(given.text(), '{"a":"ä"}');
  assert.deepEqual(given.json(), { a: 'ä' });
  assert.equal(new HandlerRequest(request()).text(), '');
  assert.equal(new HandlerRequest(request('/', { body: Uint8Array.of(0xff) })).text(), '\ufffd');
});

test('a body that is not JSON is the caller’s fault', () => {
  for (const [sent, says] of [
    [undefined, /not JSON/],
    [new TextEncoder().encode('{'), /not JSON/],
    [Uint8Array.of(0xff), /not UTF-8/],
  ]) {
    const { answer, logs } = run((given) => jsonResponse(given.json()), request('/', { body: sent }));
    assert.equal(answer.status, 400);
    assert.match(body(answer).error, says);
    assert.deepEqual(logs, []);
  }
});

// ---- answers ----------------------------------------------------------------------------------------------------

test('each kind of answer has its type, unless another is named', () => {
  assert.deepEqual(jsonResponse({ a: 1 }), {
    status: 200,
    headers: [{ name: 'content-type', value: 'application/json' }],
    body: new TextEncoder().encode('{"a":1}'),
  });
  assert.deepEqual(jsonResponse(Uint8Array.of(0x31), { status: 201 }).body, Uint8Array.of(0x31));
  assert.equal(textResponse('ä').headers[0].value, 'text/plain; charset=utf-8');
  assert.deepEqual(bytesResponse(new ArrayBuffer(2)).body, new Uint8Array(2));
  assert.deepEqual(emptyResponse(), { status: 204, headers: [], body: undefined });
  const named = bytesResponse(Uint8Array.of(1), { headers: { 'Content-Type': 'image/png', 'x-n': 1 } });
  assert.deepEqual(named.headers, [
    { name: 'Content-Type', value: 'image/png' },
    { name: 'x-n', value: '1' },
  ]);
  assert.throws(() => jsonResponse(undefined), /no form in JSON/);
});

test('headers are taken as records, pairs or the world’s own', () => {
  const expected = [{ name: 'a', value: '1' }];
  for (const headers of [
    { a: '1' },
    [['a', '1']],
    [{ name: 'a', value: '1' }],
    new Map([['a', '1']]),
    new Headers({ a: '1' }),
  ]) {
    assert.deepEqual(emptyResponse(204, { headers }).headers, expected);
  }
});

test('an answer is completed: a text becomes bytes, no status is 200, no body is none', () => {
  assert.deepEqual(run(() => ({ body: 'ä' })).answer, {
    status: 200,
    headers: [],
    body: new TextEncoder().encode('ä'),
  });
  assert.deepEqual(run(() => ({ status: 204, body: null })).answer, { status: 204, headers: [], body: undefined });
  assert.deepEqual(run(() => ({ status: 65535, headers: { a: '\ud800' } })).answer.headers, [
    { name: 'a', value: '\ufffd' },
  ]);
});

test('what no engine could send is a 500 and a line that says what was wrong', () => {
  for (const returned of [
    undefined,
    null,
    'text',
    { status: 65536 },
    { status: -1 },
    { status: 200.5 },
    { status: '200' },
    { body: 5 },
    { body: {} },
  ]) {
    const { answer, logs } = run(() => returned);
    assert.equal(answer.status, 500);
    assert.match(logs[0].message, /^TypeError: /);
  }
});

// ---- throws -----------------------------------------------------------------------------------------------------

test('an HttpError is answered with its status, message, details and headers, and is nobody’s fault', () => {
  const { answer, logs } = run(() => {
    throw new HttpError(429, 'slow down', { after: 5 }, { 'retry-after': '5' });
  });
  assert.equal(answer.status, 429);
  assert.deepEqual(body(answer), { error: 'slow down', after: 5 });
  assert.ok(answer.headers.some(({ name, value }) => name === 'retry-after' && value === '5'));
  assert.deepEqual(logs, []);
});

test('any other throw is a 500 that tells the caller nothing and the log everything', () => {
  for (const thrown of [new TypeError('secret-ish'), new HostError('storage', 'denied'), 'a text', undefined, 5]) {
    const { answer, logs } = run(() => {
      throw thrown;
    });
    assert.deepEqual([answer.status, body(answer)], [500, { error: 'internal error' }]);
    assert.equal(logs.length, 1);
    assert.equal(logs[0].level, 'error');
    if (thrown instanceof Error)
      assert.match(logs[0].message, new RegExp(`^${thrown.name}: ${thrown.message}\n +at .*handler.test`));
    else assert.equal(logs[0].message, `thrown: ${thrown}`);
  }
});

test('an engine out of memory or stack is left to the platform', () => {
  for (const thrown of [null, 'out of memory']) {
    assert.throws(
      () =>
        run(() => {
          throw thrown;
        }),
      (error) => error === thrown,
    );
  }
  globalThis.InternalError = class InternalError extends Error {};
  try {
    assert.throws(
      () =>
        run(() => {
          throw new InternalError('too much recursion');
        }),
      InternalError,
    );
  } finally {
    delete globalThis.InternalError;
  }
});

test('an asynchronous handler is waited for, and its throws are answered alike', async () => {
  assert.equal((await run(async () => jsonResponse(1)).answer).status, 200);
  const { answer, logs } = run(async () => {
    throw new Error('later');
  });
  assert.equal((await answer).status, 500);
  assert.match(logs[0].message, /^Error: later/);
  assert.equal(
    (
      await run(async () => {
        throw new HttpError(404, 'x');
      }).answer
    ).status,
    404,
  );
  assert.equal((await run(async () => undefined).answer).status, 500);
});

test('a host without logging is noticed when the handler is made', () => {
  assert.throws(() => createHandler(() => emptyResponse(), undefined), TypeError);
});
