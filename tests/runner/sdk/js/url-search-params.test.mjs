// Queries read and print as they do in Node.js.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { URLSearchParams as OwnParams } from '../../../../runner/sdk/js/src/url-search-params.js';
import { assembled, drawing } from './drawing.mjs';

const PIECES = [
  'a',
  'b',
  '=',
  '&',
  '+',
  ' ',
  '%',
  '%41',
  '%4',
  '%20',
  '%C3%A4',
  '?',
  '#',
  "!'()~",
  '*-._',
  '\n',
  '"',
  ';',
  '/',
];
const WIDE = ['ä', '€', '😀', '\ud800', 'a', '=', '&', '+'];

test('every query reads and prints the same', () => {
  const draw = drawing(5);
  for (let count = 0; count < 20_000; count++) {
    const query = assembled(draw, count % 2 ? PIECES : WIDE, 9);
    const [ours, theirs] = [new OwnParams(query), new URLSearchParams(query)];
    assert.deepEqual([...ours], [...theirs], JSON.stringify(query));
    assert.equal(ours.toString(), theirs.toString());
  }
});

test('bytes that are not UTF-8 become replacement characters, beside other characters too', () => {
  assert.deepEqual(
    [...new OwnParams('%ff=%C3&ä=%ffé%zz')],
    [
      ['\ufffd', '\ufffd'],
      ['ä', '\ufffdé%zz'],
    ],
  );
});

const STEPS = [
  (params, name, value) => params.append(name, value),
  (params, name) => params.delete(name),
  (params, name, value) => params.delete(name, value),
  (params, name, value) => params.set(name, value),
  (params) => params.sort(),
];

test('every sequence of changes ends the same', () => {
  const draw = drawing(6);
  const names = ['a', 'b', 'ä', '', 'z', 1, null];
  for (let count = 0; count < 3000; count++) {
    const [ours, theirs] = [new OwnParams('b=1&a=2&b=3&a=4'), new URLSearchParams('b=1&a=2&b=3&a=4')];
    for (let step = draw(8); step >= 0; step--) {
      const change = STEPS[draw(STEPS.length)];
      const [name, value] = [names[draw(names.length)], `${draw(5)}`];
      change(ours, name, value);
      change(theirs, name, value);
    }
    assert.equal(ours.toString(), theirs.toString());
    for (const name of names) {
      assert.deepEqual(
        [ours.get(name), ours.getAll(name), ours.has(name), ours.has(name, '2')],
        [theirs.get(name), theirs.getAll(name), theirs.has(name), theirs.has(name, '2')],
      );
    }
    assert.deepEqual(
      [...ours.keys(), ...ours.values(), ours.size],
      [...theirs.keys(), ...theirs.values(), theirs.size],
    );
  }
});

test('it is made from texts, pairs, records and others of its kind', () => {
  for (const init of [
    undefined,
    '',
    '?a=1',
    [
      ['a', '1'],
      ['b', 2],
    ],
    { a: 1, b: 'ä' },
    new URLSearchParams('x=y'),
    new Map([['k', 'v']]),
  ]) {
    assert.equal(new OwnParams(init).toString(), new URLSearchParams(init).toString());
  }
  assert.throws(() => new OwnParams([['a']]), TypeError);
});

test('a loop over it sees what is appended meanwhile', () => {
  const params = new OwnParams('a=1');
  const seen = [];
  for (const [name] of params) {
    seen.push(name);
    if (seen.length < 3) params.append('b', '2');
  }
  assert.deepEqual(seen, ['a', 'b', 'b']);
  const called = [];
  params.forEach((value, name) => called.push(name + value));
  assert.deepEqual(called, ['a1', 'b2', 'b2']);
});
