// Randomness comes from its source and nowhere else; a console's line says what was given to it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createConsole, describeError, formatted } from '../../../../runner/sdk/js/src/console.js';
import { createRandom } from '../../../../runner/sdk/js/src/random.js';

const filled = (byte) => (count) => new Uint8Array(count).fill(byte);

test('getRandomValues fills the view it is given, and only that', () => {
  const { crypto } = createRandom(filled(7));
  const whole = new Uint8Array(12);
  const view = new Uint16Array(whole.buffer, 4, 2);
  assert.equal(crypto.getRandomValues(view), view);
  assert.deepEqual([...whole], [0, 0, 0, 0, 7, 7, 7, 7, 0, 0, 0, 0]);
});

test('getRandomValues takes arrays of integers of at most 65536 bytes', () => {
  const { crypto } = createRandom(filled(1));
  assert.equal(crypto.getRandomValues(new Uint8Array(65536)).at(-1), 1);
  assert.throws(() => crypto.getRandomValues(new Uint8Array(65537)), RangeError);
  for (const wrong of [new Float64Array(1), [1], undefined, new DataView(new ArrayBuffer(1))]) {
    assert.throws(() => crypto.getRandomValues(wrong), TypeError);
  }
});

test('a UUID has the version and the variant of RFC 9562', () => {
  assert.equal(createRandom(filled(0)).crypto.randomUUID(), '00000000-0000-4000-8000-000000000000');
  assert.equal(createRandom(filled(255)).crypto.randomUUID(), 'ffffffff-ffff-4fff-bfff-ffffffffffff');
});

test('a random number has 53 bits and lies between 0 and 1, without 1', () => {
  assert.equal(createRandom(filled(0)).random(), 0);
  assert.equal(createRandom(filled(255)).random(), 1 - 2 ** -53);
  assert.equal(createRandom(() => Uint8Array.of(0x10, 0, 0, 0, 0, 0, 0)).random(), 0.5);
  assert.equal(createRandom(() => Uint8Array.of(0, 0, 0, 0, 0, 0, 1)).random(), 2 ** -53);
});

test('each method of a console writes at its level', () => {
  const lines = [];
  const at = (level) => (line) => lines.push([level, line]);
  const own = createConsole({ logInfo: at('info'), logWarn: at('warn'), logError: at('error') });
  own.log('a', 1);
  own.info('b');
  own.debug('c');
  own.warn('d');
  own.error('e');
  own.assert(true, 'unseen');
  own.assert(false, 'f');
  assert.deepEqual(lines, [
    ['info', 'a 1'],
    ['info', 'b'],
    ['info', 'c'],
    ['warn', 'd'],
    ['error', 'e'],
    ['error', 'Assertion failed f'],
  ]);
  own.trace('g');
  assert.match(lines.at(-1)[1], /^g \n/);
});

test('a line shows every kind of value and never fails', () => {
  const circle = { name: 'x' };
  circle.self = circle;
  const twice = { a: 1 };
  const values = [
    [['a %s is %d of %%', 'b', '3', 'rest'], 'a b is 3 of % rest'],
    [['%s'], '%s'],
    [['%i %f', 1.5, 1.5], '1 1.5'],
    [['%o', { a: 1 }], '{"a":1}'],
    [['100%'], '100%'],
    [['%s %s', 'x'], 'x %s'],
    [[null, undefined, true, 1n, Symbol('s')], 'null undefined true 1n Symbol(s)'],
    [[{ a: [1, 'x'], big: 2n }], '{"a":[1,"x"],"big":"2n"}'],
    [[circle], '{"name":"x","self":"[circular]"}'],
    [[[twice, twice]], '[{"a":1},{"a":1}]'],
    [[new Uint8Array(3)], '"[3 bytes]"'],
    [[() => 1], '[function]'],
    [
      [
        {
          toJSON() {
            throw new Error('no');
          },
        },
      ],
      '[Error: no]',
    ],
    [['\ud800'], '\ufffd'],
    [['%d', Symbol('s')], 'NaN'],
  ];
  for (const [given, line] of values) assert.equal(formatted(given), line);
});

test('an error is told with its name, message, place and causes, once each', () => {
  const error = new TypeError('bad', { cause: new Error('worse', { cause: 'a text' }) });
  const told = describeError(error);
  assert.match(told, /^TypeError: bad\n {4}at .*random-and-console/);
  assert.equal(told.match(/TypeError: bad/g).length, 1);
  assert.match(told, /\ncaused by Error: worse\n[^]*\ncaused by thrown: a text$/);
  const circle = new Error('round');
  circle.cause = circle;
  assert.ok(describeError(circle).length < 10_000);
  assert.equal(describeError(Object.assign(new Error('m'), { stack: 'f@a.js:1\n' })), 'Error: m\nf@a.js:1');
  assert.equal(describeError('text'), 'thrown: text');
});
