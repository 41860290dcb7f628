// `URL` of the URL Standard for addresses of http, https, ws and wss, for an engine that has none.
//
// A part of the standard, not another one: what is accepted here reads as everywhere else, and what is not accepted is
// a TypeError. Left out are other schemes (`data:`, `mailto:`, `file:`), hosts that are not ASCII, and assignments to
// anything but `href`, `pathname`, `search` and `hash`. https://url.spec.whatwg.org/#url-parsing

import { parseHost } from './url-host.js';
import { URLSearchParams } from './url-search-params.js';

const DEFAULT_PORTS = { 'http:': '80', 'https:': '443', 'ws:': '80', 'wss:': '443' };
const SCHEME = /^[a-zA-Z][a-zA-Z0-9+.-]*:/;

// The standard's percent-encode sets; beyond ASCII everything is encoded.
const IN_FRAGMENT = /[\0-\x20"<>`\x7f-\u{10ffff}]/gu;
const IN_QUERY = /[\0-\x20"#'<>\x7f-\u{10ffff}]/gu;
const IN_PATH = /[\0-\x20"#<>?^`{}\x7f-\u{10ffff}]/gu;
const IN_USERINFO = /[\0-\x20"#/:;<=>?@[\\\]^`{|}\x7f-\u{10ffff}]/gu;

/** A web address. Throws TypeError for what is none. */
export class URL {
  #parts;
  #params;

  constructor(url, base = undefined) {
    this.#parts = parse(`${url}`, base === undefined ? undefined : parse(`${base}`));
    this.#params = new URLSearchParams('', (query) => {
      this.#parts.query = query === '' ? undefined : query;
    });
    URLSearchParams.replace(this.#params, this.#parts.query ?? '');
  }

  static canParse(url, base = undefined) {
    return URL.parse(url, base) !== null;
  }

  static parse(url, base = undefined) {
    try {
      return new URL(url, base);
    } catch (error) {
      if (error instanceof TypeError) return null;
      throw error;
    }
  }

  get href() {
    const { username, password, fragment, path, query } = this.#parts;
    const secret = password === '' ? '' : `:${password}`;
    const credentials = username === '' && secret === '' ? '' : `${username}${secret}@`;
    const tail = `${query === undefined ? '' : `?${query}`}${fragment === undefined ? '' : `#${fragment}`}`;
    return `${this.protocol}//${credentials}${this.host}${path}${tail}`;
  }

  set href(url) {
    this.#parts = parse(`${url}`);
    URLSearchParams.replace(this.#params, this.#parts.query ?? '');
  }

  get origin() {
    return `${this.protocol}//${this.host}`;
  }

  get protocol() {
    return this.#parts.protocol;
  }

  get username() {
    return this.#parts.username;
  }

  get password() {
    return this.#parts.password;
  }

  get host() {
    return this.port === '' ? this.hostname : `${this.hostname}:${this.port}`;
  }

  get hostname() {
    return this.#parts.hostname;
  }

  get port() {
    return this.#parts.port;
  }

  get pathname() {
    return this.#parts.path;
  }

  set pathname(path) {
    this.#parts.path = parsePath(unbroken(`${path}`).replace(/^(?![/\\])/, '/'), []);
  }

  get search() {
    return this.#parts.query ? `?${this.#parts.query}` : '';
  }

  set search(query) {
    const text = `${query}`;
    this.#parts.query = text === '' ? undefined : encode(unbroken(text.replace(/^\?/, '')), IN_QUERY);
    URLSearchParams.replace(this.#params, this.#parts.query ?? '');
  }

  get searchParams() {
    return this.#params;
  }

  get hash() {
    return this.#parts.fragment ? `#${this.#parts.fragment}` : '';
  }

  set hash(fragment) {
    const text = `${fragment}`;
    this.#parts.fragment = text === '' ? undefined : encode(unbroken(text.replace(/^#/, '')), IN_FRAGMENT);
  }

  toString() {
    return this.href;
  }

  toJSON() {
    return this.href;
  }

  get [Symbol.toStringTag]() {
    return 'URL';
  }
}

// ---- parsing --------------------------------------------------------------------------------------------------

function parse(url, base = undefined) {
  const text = unbroken(url.replace(/^[\0-\x20]+|[\0-\x20]+$/g, ''));
  const [, front, query, fragment] = /^([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/su.exec(text);
  const parts = {
    ...parseFront(front, base, query !== undefined),
    fragment: fragment === undefined ? undefined : encode(fragment, IN_FRAGMENT),
  };
  if (query !== undefined) parts.query = encode(query, IN_QUERY);
  return parts;
}

// Everything before the query. `base` lends what is missing.
function parseFront(front, base, hasQuery) {
  const scheme = SCHEME.exec(front)?.[0];
  const protocol = scheme?.toLowerCase() ?? base?.protocol;
  if (protocol === undefined) throw new TypeError('an address without a scheme needs a base');
  if (!Object.hasOwn(DEFAULT_PORTS, protocol)) throw new TypeError(`addresses of ${protocol} are not supported here`);
  const rest = front.slice(scheme?.length ?? 0);
  if (/^[/\\]{2}/.test(rest) || base?.protocol !== protocol) return parseAbsolute(protocol, rest);
  const lent = { ...base, protocol };
  if (rest === '') return { ...lent, query: hasQuery ? undefined : base.query };
  if (/^[/\\]/.test(rest)) return { ...lent, path: parsePath(rest, []), query: undefined };
  return { ...lent, path: parsePath(`/${rest}`, base.path.split('/').slice(1, -1)), query: undefined };
}

function parseAbsolute(protocol, rest) {
  const [, authority, path] = /^[/\\]*([^/\\]*)(.*)$/su.exec(rest);
  const at = authority.lastIndexOf('@');
  const [, user, secret = ''] = /^([^:]*)(?::(.*))?$/su.exec(authority.slice(0, Math.max(at, 0)));
  const [, hostname, port = ''] = /^((?:\[[^\]]*\]|[^:[])*)(?::(.*))?$/su.exec(authority.slice(at + 1)) ?? [];
  if (hostname === undefined) throw new TypeError('the host is not one');
  return {
    protocol,
    username: encode(user, IN_USERINFO),
    password: encode(secret, IN_USERINFO),
    hostname: parseHost(hostname),
    port: parsePort(port, protocol),
    path: parsePath(path || '/', []),
    query: undefined,
  };
}

function parsePort(text, protocol) {
  if (!/^[0-9]*$/.test(text) || Number(text) > 65535) throw new TypeError('the port is not a number up to 65535');
  const port = text === '' ? '' : String(Number(text));
  return port === DEFAULT_PORTS[protocol] ? '' : port;
}

// `text` begins with a slash; `above` are the segments it continues.
function parsePath(text, above) {
  const path = [...above];
  const segments = text.split(/[/\\]/).slice(1);
  segments.forEach((segment, at) => {
    const dots = segment.replace(/%2e/gi, '.');
    const last = at === segments.length - 1;
    if (dots === '..') path.pop();
    if (dots !== '.' && dots !== '..') path.push(encode(segment, IN_PATH));
    else if (last) path.push('');
  });
  return `/${path.join('/')}`;
}

// Tabs and line ends are taken out anywhere, lone surrogates replaced.
function unbroken(text) {
  return text.replace(/[\t\n\r]/g, '').toWellFormed();
}

function encode(text, set) {
  return text.replace(set, (found) =>
    found < '\x7f' ? `%${found.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}` : encodeURIComponent(found),
  );
}
