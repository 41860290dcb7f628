// What a handler is given: the platform's request as it came, and what a handler usually wants of it.

import { HttpError } from './errors.js';
import { decodeText, decodeTextStrictly } from './text.js';
import { URLSearchParams as OwnParams } from './url-search-params.js';

const Params = globalThis.URLSearchParams ?? OwnParams;

/** One request. What is not asked for is not computed. */
export class HandlerRequest {
  #query;

  /** @param {import('./index.js').ExecuteRequest} request as the world's `handler` gets it. */
  constructor(request) {
    this.context = request.context;
    this.http = request.http;
    /** Path parameters; the router fills them in. */
    this.params = {};
  }

  get method() {
    return this.http.method;
  }

  /** Path and query, as sent. */
  get url() {
    return this.http.url;
  }

  /** The path, percent-encoded as sent. */
  get path() {
    const { url } = this.http;
    const end = url.indexOf('?');
    return end < 0 ? url : url.slice(0, end);
  }

  get query() {
    this.#query ??= new Params(this.http.url.slice(this.path.length));
    return this.#query;
  }

  /** The first header of this name, in whatever case; `undefined` when there is none. */
  header(name) {
    const wanted = name.toLowerCase();
    return this.http.headers.find((header) => header.name.toLowerCase() === wanted)?.value;
  }

  /** The body's bytes; empty when there is none. */
  bytes() {
    return this.http.body ?? new Uint8Array();
  }

  /** The body as UTF-8; what is malformed becomes U+FFFD. */
  text() {
    return decodeText(this.bytes());
  }

  /** The body as JSON. Throws `HttpError` 400 when it is none. */
  json() {
    let text;
    try {
      text = decodeTextStrictly(this.bytes());
    } catch {
      throw new HttpError(400, 'the body is not UTF-8');
    }
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new HttpError(400, `the body is not JSON: ${error.message}`);
    }
  }
}
