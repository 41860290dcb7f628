// `URLSearchParams` of the URL Standard, for an engine that has none: https://url.spec.whatwg.org/#urlsearchparams

import { decodeUtf8 } from './text.js';

const HEX_PAIR = /^[0-9a-fA-F]{2}$/;

/** Names and values in the order they came, with the standard's methods. */
export class URLSearchParams {
  #pairs = [];
  #changed;

  /**
   * @param {string | Iterable<[string, string]> | Record<string, string>} [init]
   * @param {(text: string) => void} [changed] told of each change: how a URL keeps its query in step.
   */
  constructor(init = '', changed = undefined) {
    if (typeof init === 'object' && init !== null) {
      this.#pairs = typeof init[Symbol.iterator] === 'function' ? pairsOf(init) : recordOf(init);
    } else {
      this.#pairs = parsed(String(init).replace(/^\?/, ''));
    }
    this.#changed = changed;
  }

  get size() {
    return this.#pairs.length;
  }

  append(name, value) {
    this.#pairs.push([scalar(name), scalar(value)]);
    this.#update();
  }

  delete(name, value = undefined) {
    const matches = matcher(name, value);
    this.#pairs = this.#pairs.filter((pair) => !matches(pair));
    this.#update();
  }

  get(name) {
    return this.#pairs.find(matcher(name))?.[1] ?? null;
  }

  getAll(name) {
    return this.#pairs.filter(matcher(name)).map(([, value]) => value);
  }

  has(name, value = undefined) {
    return this.#pairs.some(matcher(name, value));
  }

  set(name, value) {
    const matches = matcher(name);
    const first = this.#pairs.findIndex(matches);
    if (first < 0) {
      this.append(name, value);
      return;
    }
    this.#pairs[first] = [this.#pairs[first][0], scalar(value)];
    this.#pairs = this.#pairs.filter((pair, at) => at <= first || !matches(pair));
    this.#update();
  }

  sort() {
    this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    this.#update();
  }

  forEach(callback, thisArg = undefined) {
    for (const [name, value] of this) callback.call(thisArg, value, name, this);
  }

  // By index, because the standard lets a loop see what is appended while it runs.
  *entries() {
    for (let at = 0; at < this.#pairs.length; at++) yield [...this.#pairs[at]];
  }

  *keys() {
    for (const [name] of this.entries()) yield name;
  }

  *values() {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator]() {
    return this.entries();
  }

  toString() {
    return this.#pairs.map((pair) => pair.map(encoded).join('=')).join('&');
  }

  get [Symbol.toStringTag]() {
    return 'URLSearchParams';
  }

  /** Take the pairs of another query without telling anybody; for the URL this belongs to. */
  static replace(params, query) {
    params.#pairs = parsed(query);
  }

  #update() {
    this.#changed?.(this.toString());
  }
}

function pairsOf(init) {
  return Array.from(init, (entry) => {
    const pair = Array.from(entry);
    if (pair.length !== 2) throw new TypeError('each entry of a query must be a name and a value');
    return pair.map(scalar);
  });
}

function recordOf(init) {
  const pairs = new Map(); // two keys may become one when lone surrogates are replaced; the last one stays
  for (const [name, value] of Object.entries(init)) pairs.set(scalar(name), scalar(value));
  return [...pairs];
}

// A text without lone surrogates: what the standard calls a scalar value string.
function scalar(value) {
  return `${value}`.toWellFormed();
}

function matcher(name, value = undefined) {
  const [wantedName, wantedValue] = [scalar(name), value === undefined ? undefined : scalar(value)];
  return ([held, heldValue]) => held === wantedName && (wantedValue === undefined || heldValue === wantedValue);
}

function parsed(query) {
  return query
    .toWellFormed()
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf('=');
      return at < 0 ? [decoded(part), ''] : [decoded(part.slice(0, at)), decoded(part.slice(at + 1))];
    });
}

// application/x-www-form-urlencoded, one name or value: https://url.spec.whatwg.org/#urlencoded-parsing
function decoded(text) {
  const spaced = text.replaceAll('+', ' ');
  if (!spaced.includes('%')) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch {
    return decodeUtf8(percentDecoded(spaced)); // a stray percent sign, or bytes that are not UTF-8
  }
}

/** The bytes of a text once `%41` and its like are undone; a percent sign that begins nothing stays. */
export function percentDecoded(text) {
  const binary = unescape(encodeURI(text)); // one character for each byte of UTF-8
  const bytes = new Uint8Array(binary.length);
  let length = 0;
  for (let at = 0; at < binary.length; at++) {
    const digits = binary.slice(at + 1, at + 3);
    if (binary[at] === '%' && HEX_PAIR.test(digits)) {
      bytes[length++] = Number.parseInt(digits, 16);
      at += 2;
    } else {
      bytes[length++] = binary.charCodeAt(at);
    }
  }
  return bytes.slice(0, length);
}

function encoded(text) {
  return encodeURIComponent(text).replace(/%20|[!'()~]/g, (found) =>
    found === '%20' ? '+' : `%${found.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
