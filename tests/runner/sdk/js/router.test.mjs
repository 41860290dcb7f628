// Which route answers, with which parameters, and what is said when none does.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Router,
  createHandler,
  createMockHostBindings,
  decodeText,
  jsonResponse,
} from '../../../../runner/sdk/js/src/index.js';

const named = (name) => (request) => jsonResponse({ name, ...request.params });

function ask(router, method, url) {
  const context = { tenantId: 't', extensionId: 'e' };
  const answer = createHandler(router, createMockHostBindings())({ context, http: { method, url, headers: [] } });
  return {
    status: answer.status,
    headers: Object.fromEntries(answer.headers.map(({ name, value }) => [name, value])),
    ...JSON.parse(decodeText(answer.body)),
  };
}

const router = new Router({
  '/': { GET: named('root') },
  '/items': { GET: named('list'), POST: named('add') },
  '/items/:id': { GET: named('show'), DELETE: named('remove') },
  '/items/new': { GET: named('new') },
}).put('/items/:id/parts/:part', named('part'));

test('path and method choose the handler', () => {
  assert.equal(ask(router, 'GET', '/').name, 'root');
  assert.equal(ask(router, 'GET', '/items?x=1').name, 'list');
  assert.equal(ask(router, 'POST', '/items').name, 'add');
  assert.equal(ask(router, 'DELETE', '/items/7').name, 'remove');
});

test('a parameter takes one whole segment and is decoded', () => {
  assert.deepEqual(ask(router, 'GET', '/items/7').id, '7');
  assert.deepEqual(ask(router, 'GET', '/items/a%2Fb%20%C3%A4').id, 'a/b ä');
  const { id, part } = ask(router, 'PUT', '/items/7/parts/8');
  assert.deepEqual([id, part], ['7', '8']);
  for (const url of ['/items/', '/items/7/', '/items//parts/8', '/items/7/8'])
    assert.equal(ask(router, 'GET', url).status, 404, url);
});

test('a path without parameters goes before one with, whatever their order', () => {
  assert.equal(ask(router, 'GET', '/items/new').name, 'new');
});

test('the first of two patterns that match wins', () => {
  const two = new Router().get('/:a/x', named('one')).get('/y/:b', named('two'));
  assert.equal(ask(two, 'GET', '/y/x').name, 'one');
  assert.equal(ask(two, 'GET', '/y/z').name, 'two');
});

test('an unknown path is a 404 that names it', () => {
  const { status, error, path } = ask(router, 'GET', '/absent?x');
  assert.deepEqual([status, error, path], [404, 'not found', '/absent']);
});

test('a method the path does not take is a 405 that names those it takes', () => {
  const { status, error, headers } = ask(router, 'PATCH', '/items');
  assert.deepEqual([status, error, headers.allow], [405, 'method not allowed', 'GET, POST']);
  assert.equal(ask(router, 'POST', '/items/7').headers.allow, 'GET, DELETE');
});

test('HEAD is answered as GET unless it has a route of its own', () => {
  assert.equal(ask(router, 'HEAD', '/items').name, 'list');
  assert.equal(ask(new Router().get('/', named('get')).on('head', '/', named('head')), 'HEAD', '/').name, 'head');
});

test('a segment that is not percent-encoded UTF-8 is the caller’s fault', () => {
  assert.equal(ask(router, 'GET', '/items/%ff').status, 400);
  assert.equal(ask(router, 'GET', '/items/%zz').status, 400);
});

test('every verb has a method', () => {
  const verbs = new Router();
  for (const verb of ['get', 'post', 'put', 'patch', 'delete']) assert.equal(verbs[verb]('/', named(verb)), verbs);
  for (const verb of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
    assert.equal(ask(verbs, verb, '/').name, verb.toLowerCase());
});

test('a route that could not work is refused when it is added', () => {
  const full = new Router().get('/a', named('a')).get('/b/:x', named('b'));
  assert.throws(() => full.get('a', named('')), /begins with/);
  assert.throws(() => full.get('/a?x', named('')), /begins with/);
  assert.throws(() => full.get('/a', named('')), /GET \/a is there already/);
  assert.throws(() => full.get('/b/:x', named('')), /there already/);
  assert.throws(() => full.get('/b/:y', named('')), /under other names/);
  assert.throws(() => full.get('/:x/:x', named('')), /a name of its own/);
  assert.throws(() => full.get('/c/:', named('')), /a name of its own/);
  assert.throws(() => full.get('/d', 'handler'), /not a function/);
});
