// Texts and bytes agree with the engine's own UTF-8, whatever they are.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as own from '../../../../runner/sdk/js/src/text.js';
import { drawing } from './drawing.mjs';

const draw = drawing(1);
const TEXTS = [
  '',
  'a',
  'é',
  '€',
  '😀',
  '\0',
  '%41',
  '%u0041',
  '\ud800',
  '\udc00',
  'a\ud800b',
  '\ud83d',
  '\ufeffa',
  '"{}[]\\\n',
];

function drawnText() {
  const ranges = [0x80, 0x800, 0x10000, 0x110000];
  return Array.from({ length: draw(80) }, () => String.fromCodePoint(draw(ranges[draw(4)]))).join('');
}

function drawnBytes() {
  const likely = [0x41, 0x80, 0xbf, 0xc0, 0xc2, 0xe0, 0xed, 0xa0, 0xef, 0xbb, 0xf0, 0x90, 0xf4, 0x8f, 0xf5, 0xff];
  return Uint8Array.from({ length: draw(12) }, () => likely[draw(likely.length)]);
}

function outcome(call) {
  try {
    return call();
  } catch (error) {
    return error.constructor.name;
  }
}

test('every text becomes the bytes the engine makes of it', () => {
  for (const text of [...TEXTS, ...Array.from({ length: 3000 }, drawnText)]) {
    assert.deepEqual(own.encodeUtf8(text), new TextEncoder().encode(text), JSON.stringify(text));
    assert.deepEqual(new own.TextEncoder().encode(text), new TextEncoder().encode(text));
  }
});

test('every sequence of bytes becomes the text the engine makes of it, or the same error', () => {
  for (const options of [{}, { fatal: true }, { ignoreBOM: true }, { fatal: true, ignoreBOM: true }]) {
    const [ours, theirs] = [new own.TextDecoder('utf-8', options), new TextDecoder('utf-8', options)];
    for (let count = 0; count < 4000; count++) {
      const bytes = drawnBytes();
      assert.equal(
        outcome(() => ours.decode(bytes)),
        outcome(() => theirs.decode(bytes)),
        Buffer.from(bytes).toString('hex'),
      );
    }
  }
});

test('a long text survives both ways', () => {
  const text = 'ä€😀x'.repeat(20_000);
  assert.ok(own.decodeUtf8(own.encodeUtf8(text)) === text); // not `equal`: it would print half a megabyte
});

test('a decoder takes views of any kind and refuses what is none', () => {
  const bytes = new TextEncoder().encode('xhellox');
  const decoder = new own.TextDecoder();
  assert.equal(decoder.decode(bytes.subarray(1, 6)), 'hello');
  assert.equal(decoder.decode(new DataView(bytes.buffer, 1, 5)), 'hello');
  assert.equal(decoder.decode(bytes.buffer), 'xhellox');
  assert.equal(decoder.decode(), '');
  assert.throws(() => decoder.decode('hello'), TypeError);
});

test('only whole texts of utf-8 are decoded, and anything else is said', () => {
  assert.equal(new own.TextDecoder(' UTF8 ').encoding, 'utf-8');
  assert.throws(() => new own.TextDecoder('latin1'), RangeError);
  assert.throws(() => new own.TextDecoder().decode(new Uint8Array(), { stream: true }), /whole texts/);
});

test('encodeInto writes whole characters only and says how far it came', () => {
  for (const [text, room] of [
    ['héllo', 3],
    ['héllo', 2],
    ['😀a', 3],
    ['😀a', 4],
    ['', 4],
    ['abc', 9],
  ]) {
    const [ours, theirs] = [new Uint8Array(room), new Uint8Array(room)];
    const told = new own.TextEncoder().encodeInto(text, ours);
    const { read, written } = new TextEncoder().encodeInto(text, theirs);
    assert.deepEqual([told, ours], [{ read, written }, theirs]);
  }
});
