// Addresses read as they do in Node.js: a table, then drawn ones. Ours may refuse more; it never reads differently.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { URL as OwnUrl } from '../../../../runner/sdk/js/src/url.js';
import { assembled, drawing } from './drawing.mjs';

const PROPERTIES = [
  'href',
  'origin',
  'protocol',
  'username',
  'password',
  'host',
  'hostname',
  'port',
  'pathname',
  'search',
  'hash',
];
const BASE = 'http://u:p@h.example:81/a/b/c?q=1#f';

const SAME = [
  ['https://example.com'],
  ['HTTPS://EXAMPLE.com:443/'],
  ['http://example.com:80/?#'],
  ['ws://a:81/x'],
  ['wss://a:443'],
  ['  https://a/ b\tc\n'],
  ['https:a'],
  ['https:///a'],
  ['https:\\\\a\\b'],
  ['http://a/./b/../c/%2e%2E/d/.'],
  ['http://a/..//b'],
  ['http://u@a'],
  ['http://u:@a'],
  ['http://:p@a'],
  ['http://u:p:q@a'],
  ['http://a@b@c/'],
  ['http://%75:%20@a'],
  ['http://a/%zz?%zz#%zz'],
  ['http://1'],
  ['http://0x7f.1'],
  ['http://0300.0250.1'],
  ['http://4294967295'],
  ['http://1.2.3.4.'],
  ['http://0x/'],
  ['http://a.0b'],
  ['http://[::1]'],
  ['http://[1:0:0:2:0:0:0:3]:8080'],
  ['http://[::ffff:1.2.3.4]/'],
  ['http://[FE80::0:1]'],
  ['http://[1:2:3:4:5:6:7:8]'],
  ['http://[1::]'],
  ['http://a%2Eb/'],
  ['http://A%41'],
  ["http://a_b-c.~!$&'()*+,;="],
  ['http://a:/'],
  ['http://a:00080/'],
  ['http://a:65535/'],
  ['http://a/é?é#é'],
  ['http://a/\u{1f600}'],
  ['http://a/\ud800'],
  ['http://a/"<>`{}|?"<>\'`{}#"<>`{}'],
  ['http://a/b;c=1,2'],
  ['x', BASE],
  ['./x', BASE],
  ['../x', BASE],
  ['../../../x', BASE],
  ['/x', BASE],
  ['//x', BASE],
  ['\\x', BASE],
  ['\\\\x', BASE],
  ['?x', BASE],
  ['#x', BASE],
  ['', BASE],
  ['http:x', BASE],
  ['http:/x', BASE],
  ['https:x', BASE],
  ['https://x', BASE],
  ['?', BASE],
  ['#', BASE],
  ['..', BASE],
  ['.', BASE],
  ['x/..', BASE],
  ['x?y#z', BASE],
  [' x ', BASE],
];

const REFUSED = [
  [''],
  ['x'],
  ['//a'],
  ['http://'],
  ['http://?'],
  ['http:///'],
  ['http://u@'],
  ['http://a:b'],
  ['http://a:65536'],
  ['http://a:1x'],
  ['http://a b'],
  ['http://a<b'],
  ['http://a%00'],
  ['http://a%zz'],
  ['http://[::1'],
  ['http://[1::2::3]'],
  ['http://[1:2]'],
  ['http://[g::]'],
  ['http://[::1]x'],
  ['http://[1:2:3:4:5:6:7:8:9]'],
  ['http://[::1.2.3]'],
  ['http://[::01.2.3.4]'],
  ['http://[::1.2.3.4:5]'],
  ['http://256.1.1.1'],
  ['http://1.2.3.4.5'],
  ['http://4294967296'],
  ['http://09'],
  ['http://a.1x.2'],
  ['x', 'y'],
  ['http://a', 'y'],
  ['http://[::1%25eth0]'],
];

const ONLY_NODE = [
  ['data:,x'],
  ['mailto:a@b'],
  ['file:///etc'],
  ['foo:bar'],
  ['http://bücher.example'],
  ['ftp://a'],
  ['x:y/', BASE],
];

function read(Kind, [url, base]) {
  try {
    const parsed = base === undefined ? new Kind(url) : new Kind(url, base);
    return Object.fromEntries(PROPERTIES.map((name) => [name, parsed[name]]));
  } catch (error) {
    assert.ok(error instanceof TypeError, `${error}`);
    return 'refused';
  }
}

test('what both accept reads the same', () => {
  for (const given of SAME) {
    assert.notEqual(read(URL, given), 'refused', given[0]);
    assert.deepEqual(read(OwnUrl, given), read(URL, given), given[0]);
  }
});

test('what is no address is a TypeError for both', () => {
  for (const given of REFUSED) {
    assert.equal(read(URL, given), 'refused', given[0]);
    assert.equal(read(OwnUrl, given), 'refused', given[0]);
  }
});

test('what this part of the standard leaves out is refused, not misread', () => {
  for (const given of ONLY_NODE) {
    assert.notEqual(read(URL, given), 'refused', given[0]);
    assert.equal(read(OwnUrl, given), 'refused', given[0]);
  }
});

// Without `^`, which the standard began to encode in paths in 2023 and Node.js 20 does not.
const PIECES = [
  'http:',
  'https:',
  'HTTP:',
  'ws:',
  'wss:',
  '//',
  '/',
  '\\',
  '?',
  '#',
  '@',
  ':',
  '.',
  '..',
  '%2e',
  '%2E%2e',
  'a',
  'b.example',
  'EXAMPLE.com',
  '127.0.0.1',
  '0x7f.1',
  '1.2.3',
  '256',
  '09',
  '0',
  '4294967296',
  '[::1]',
  '[1:2::3.4.5.6]',
  '[',
  ']',
  '::',
  '8080',
  '80',
  '443',
  '65536',
  '0080',
  ' ',
  '\t',
  '\n',
  '%',
  '%41',
  '%zz',
  '%ff',
  'é',
  '\u{1f600}',
  '\ud800',
  "'",
  '"',
  '<',
  '>',
  '`',
  '{',
  '}',
  '|',
  '+',
  '&',
  '=',
  'x=1',
  'y',
  ';',
  ',',
  '$',
  '!',
  '*',
  '~',
  '_',
  '-',
  '\0',
  '\x7f',
  'c:',
  'foo:',
];
const STARTS = ['http://', 'https://', 'http:', 'ws://', '', ''];
const BASES = [undefined, undefined, BASE, 'https://h/', 'wss://h/x/'];

test('drawn addresses, accepted by ours, are accepted by Node.js and read the same', () => {
  const draw = drawing(2);
  let accepted = 0;
  for (let count = 0; count < 30_000; count++) {
    const given = [STARTS[draw(STARTS.length)] + assembled(draw, PIECES, 8), BASES[draw(BASES.length)]];
    const ours = read(OwnUrl, given);
    if (ours === 'refused') continue;
    accepted++;
    assert.deepEqual(ours, read(URL, given), JSON.stringify(given));
  }
  assert.ok(accepted > 8_000, `${accepted}`);
});

test('drawn ASCII addresses of a web scheme that Node.js accepts are accepted by ours', () => {
  const draw = drawing(3);
  for (let count = 0; count < 30_000; count++) {
    const given = [STARTS[draw(STARTS.length)] + assembled(draw, PIECES, 6), BASES[draw(BASES.length)]];
    const theirs = read(URL, given);
    if (theirs === 'refused' || !/^(https?|wss?):$/.test(theirs.protocol) || /[^\0-\x7f]/.test(given[0])) continue;
    assert.notEqual(read(OwnUrl, given), 'refused', JSON.stringify(given));
  }
});

test('assignments to path, query and fragment do what they do in Node.js', () => {
  const draw = drawing(4);
  for (let count = 0; count < 10_000; count++) {
    const [ours, theirs] = [new OwnUrl(BASE), new URL(BASE)];
    const name = ['pathname', 'search', 'hash', 'href'][draw(4)];
    const value = (name === 'href' ? 'http://a/' : '') + assembled(draw, PIECES, 3);
    if (name === 'href' && read(OwnUrl, [value]) === 'refused') continue;
    ours[name] = value;
    theirs[name] = value;
    assert.equal(ours.href, theirs.href, JSON.stringify([name, value]));
    assert.equal(`${ours.searchParams.size}`, `${theirs.searchParams.size}`);
  }
});

test('a query and its searchParams stay in step', () => {
  for (const Kind of [OwnUrl, URL]) {
    const url = new Kind('https://a/?x=1&x=2');
    url.searchParams.append('y z', 'ä&');
    assert.equal(url.href, 'https://a/?x=1&x=2&y+z=%C3%A4%26');
    url.search = '?b=2';
    assert.deepEqual([...url.searchParams], [['b', '2']]);
    url.searchParams.delete('b');
    assert.equal(url.href, 'https://a/');
    assert.throws(() => Object.assign(url, { origin: 'x' }), TypeError);
  }
});

test('the other parts cannot be assigned, and say so', () => {
  for (const name of ['protocol', 'username', 'password', 'host', 'hostname', 'port']) {
    assert.throws(() => Object.assign(new OwnUrl('https://a/'), { [name]: 'x' }), TypeError, name);
  }
});

test('an address is a text where one is wanted', () => {
  const url = new OwnUrl('https://a/b');
  assert.equal(`${url}`, 'https://a/b');
  assert.equal(JSON.stringify({ url }), '{"url":"https://a/b"}');
  assert.equal(Object.prototype.toString.call(url), '[object URL]');
  assert.equal(OwnUrl.canParse('x', 'https://a'), true);
  assert.equal(OwnUrl.canParse('x'), false);
  assert.equal(OwnUrl.parse('x'), null);
});
