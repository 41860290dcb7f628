// `fetch` over the host's HTTP: the same call, without the promises.
//
// A guest waits for its host, so the answer is there when `fetch` returns, and `json()`, `text()` and `bytes()` give
// their values at once. Code written with `await` works as it is, since awaiting a value gives the value; `.then()`
// does not. Redirects, hosts, methods and sizes are the host's business: what it refuses is a `HostError`. A redirect is
// an answer like any other unless `redirect: 'follow'` asks the host to follow it, as far as it does.

import { headerList } from './responses.js';
import { decodeText, encodeText } from './text.js';
import { URLSearchParams } from './url-search-params.js';

const REDIRECTS_MAX = '5'; // as many as the host follows

/**
 * A `fetch` over a bound `http`.
 *
 * @param {{fetch(request: object): import('./index.js').HttpResponse}} http
 */
export function createFetch(http) {
  return function fetch(resource, init = {}) {
    const { method = 'GET', headers, body, redirect = 'manual' } = init;
    const url = `${resource?.href ?? resource}`;
    const sent = headerList(headers);
    const [bytes, type] = encodedBody(body);
    if (type !== undefined && !sent.some(({ name }) => name.toLowerCase() === 'content-type')) {
      sent.push({ name: 'content-type', value: type });
    }
    if (redirect === 'follow') sent.push({ name: 'x-ext-follow-redirects', value: REDIRECTS_MAX });
    else if (redirect !== 'manual') throw new TypeError("redirect must be 'manual' or 'follow'");
    return new FetchResponse(url, http.fetch({ method: `${method}`.toUpperCase(), url, headers: sent, body: bytes }));
  };
}

function encodedBody(body) {
  if (body === undefined || body === null) return [undefined, undefined];
  if (typeof body === 'string') return [encodeText(body), 'text/plain;charset=UTF-8'];
  if (body instanceof URLSearchParams || body instanceof (globalThis.URLSearchParams ?? URLSearchParams)) {
    return [encodeText(`${body}`), 'application/x-www-form-urlencoded;charset=UTF-8'];
  }
  return [body, undefined];
}

/** The answer to a `fetch`. */
export class FetchResponse {
  #body;

  constructor(url, { status, headers, body }) {
    this.url = url;
    this.status = status;
    this.headers = new FetchHeaders(headers);
    this.#body = body ?? new Uint8Array();
  }

  get ok() {
    return this.status >= 200 && this.status <= 299;
  }

  bytes() {
    return this.#body;
  }

  arrayBuffer() {
    return this.#body.slice().buffer;
  }

  text() {
    return decodeText(this.#body);
  }

  json() {
    return JSON.parse(this.text());
  }
}

/** Headers of an answer: names in lower case, in the order they came. */
export class FetchHeaders {
  #list;

  constructor(list) {
    this.#list = list.map(({ name, value }) => [name.toLowerCase(), value]);
  }

  /** All values of a name, joined by a comma; `null` when there is none. */
  get(name) {
    const values = this.#values(name);
    return values.length > 0 ? values.join(', ') : null;
  }

  getSetCookie() {
    return this.#values('set-cookie');
  }

  has(name) {
    return this.#values(name).length > 0;
  }

  forEach(callback) {
    for (const [name, value] of this) callback(value, name, this);
  }

  *[Symbol.iterator]() {
    for (const name of new Set(this.#list.map(([held]) => held))) {
      if (name !== 'set-cookie') yield [name, this.get(name)];
      else for (const value of this.getSetCookie()) yield [name, value];
    }
  }

  entries() {
    return this[Symbol.iterator]();
  }

  #values(name) {
    const wanted = name.toLowerCase();
    return this.#list.filter(([held]) => held === wanted).map(([, value]) => value);
  }
}
