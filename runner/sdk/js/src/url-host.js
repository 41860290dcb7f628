// The host of a web address, as the URL Standard reads it: a name, an IPv4 address in any of its spellings, or an IPv6
// address in brackets. https://url.spec.whatwg.org/#host-parsing
//
// Names must be ASCII: the tables that turn `bücher.example` into `xn--bcher-kva.example` are larger than the engine.
// A label that is written in Punycode already is taken as it is.

import { decodeUtf8 } from './text.js';
import { percentDecoded } from './url-search-params.js';

const FORBIDDEN = /[\0-\x20#%/:<>?@[\\\]^|\x7f]/; // in a domain, once its percent-encoding is undone
const NUMBER = /^(?:0[xX][0-9a-fA-F]*|[0-9]+)$/;

/** The host in its one normal spelling. Throws TypeError with the reason. */
export function parseHost(text) {
  if (text.startsWith('[')) {
    if (!text.endsWith(']')) throw new TypeError('an IPv6 address needs its closing bracket');
    return `[${serializeIpv6(parseIpv6(text.slice(1, -1)))}]`;
  }
  const domain = text.includes('%') ? decodeUtf8(percentDecoded(text)) : text;
  if (!/^[\0-\x7f]*$/.test(domain)) {
    throw new TypeError('write a host with other than ASCII characters in Punycode (xn--…)');
  }
  if (domain === '') throw new TypeError('the host is empty');
  if (FORBIDDEN.test(domain)) throw new TypeError('the host has a forbidden character');
  const name = domain.toLowerCase();
  return endsInNumber(name) ? parseIpv4(name) : name;
}

function labels(name) {
  const parts = name.split('.');
  if (parts.length > 1 && parts.at(-1) === '') parts.pop();
  return parts;
}

function endsInNumber(name) {
  return NUMBER.test(labels(name).at(-1));
}

// https://url.spec.whatwg.org/#concept-ipv4-parser
function parseIpv4(name) {
  const numbers = labels(name).map((part) => {
    if (!NUMBER.test(part)) throw new TypeError('a part of the IPv4 address is not a number');
    if (/^0x/i.test(part)) return part.length === 2 ? 0 : Number.parseInt(part.slice(2), 16);
    if (part.length > 1 && part.startsWith('0')) {
      if (/[89]/.test(part)) throw new TypeError('a number with a leading zero is octal, and 8 and 9 are not');
      return Number.parseInt(part, 8);
    }
    return Number(part);
  });
  if (numbers.length > 4) throw new TypeError('an IPv4 address has at most four parts');
  const last = numbers.pop();
  if (numbers.some((number) => number > 255) || last >= 256 ** (4 - numbers.length)) {
    throw new TypeError('a part of the IPv4 address is too large');
  }
  const address = numbers.reduce((sum, number, at) => sum + number * 256 ** (3 - at), last);
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

// Eight numbers of 16 bits. The standard's algorithm accepts exactly: groups of one to four hex digits between colons,
// one `::` for one or more groups, and an IPv4 address in decimal in place of the last two.
function parseIpv6(text) {
  const refuse = () => new TypeError('the IPv6 address is not one');
  const halves = text.split('::');
  if (halves.length > 2) throw refuse();
  const [before, after] = halves.map((half) => (half === '' ? [] : half.split(':')));
  const tail = after ?? before;
  if (tail.at(-1)?.includes('.')) tail.push(...embeddedIpv4(tail.pop(), refuse));
  const groups = [...before, ...(after ?? [])];
  if (!groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) throw refuse();
  const missing = 8 - groups.length;
  if (after === undefined ? missing !== 0 : missing < 1) throw refuse();
  const zeros = after === undefined ? [] : new Array(missing).fill('0');
  return [...before, ...zeros, ...(after ?? [])].map((group) => Number.parseInt(group, 16));
}

function embeddedIpv4(text, refuse) {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256)) {
    throw refuse();
  }
  const [a, b, c, d] = parts.map(Number);
  return [(a * 256 + b).toString(16), (c * 256 + d).toString(16)];
}

// The first of the longest runs of two or more zeros becomes `::`.
function serializeIpv6(groups) {
  let [start, length] = [-1, 1];
  for (let at = 0; at < 8; at++) {
    let end = at;
    while (end < 8 && groups[end] === 0) end++;
    if (end - at > length) [start, length] = [at, end - at];
    if (end > at) at = end;
  }
  const hex = groups.map((group) => group.toString(16));
  if (start < 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}
