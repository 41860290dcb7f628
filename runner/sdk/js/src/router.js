// Which handler answers: by path, then by method. `/items/:id` takes one segment as `request.params.id`.

import { HttpError } from './errors.js';
import { jsonResponse } from './responses.js';

/**
 * A table of routes that is a handler itself: `createHandler(new Router({'/items/:id': {GET: show}}), host)`.
 *
 * A path without parameters goes before one with, and among those the first one added wins. A path nobody knows is a
 * 404, a method its path does not take a 405 with `allow`; HEAD is answered as GET where it has no route of its own.
 */
export class Router {
  #fixed = new Map();
  #patterns = [];

  /** @param {Record<string, Record<string, import('./index.js').RouteHandler>>} [routes] path → method → handler. */
  constructor(routes = {}) {
    for (const [path, methods] of Object.entries(routes)) {
      for (const [method, handler] of Object.entries(methods)) this.on(method, path, handler);
    }
    this.handle = this.handle.bind(this);
  }

  /** Add a route. Throws TypeError for a path that could never match, or a route that is there already. */
  on(method, path, handler) {
    if (!path.startsWith('/') || /[?#]/.test(path)) throw new TypeError(`a route's path begins with /: ${path}`);
    if (typeof handler !== 'function') throw new TypeError(`the handler of ${method} ${path} is not a function`);
    const methods = this.#methodsOf(path);
    const verb = method.toUpperCase();
    if (methods.has(verb)) throw new TypeError(`${verb} ${path} is there already`);
    methods.set(verb, handler);
    return this;
  }

  get(path, handler) {
    return this.on('GET', path, handler);
  }

  post(path, handler) {
    return this.on('POST', path, handler);
  }

  put(path, handler) {
    return this.on('PUT', path, handler);
  }

  patch(path, handler) {
    return this.on('PATCH', path, handler);
  }

  delete(path, handler) {
    return this.on('DELETE', path, handler);
  }

  /** Answer a request with the handler of its route. */
  handle(request, host) {
    const { path } = request;
    const found = this.#find(path);
    if (found === undefined) return jsonResponse({ error: 'not found', path }, { status: 404 });
    const { methods, params } = found;
    const handler = methods.get(request.method) ?? (request.method === 'HEAD' ? methods.get('GET') : undefined);
    if (handler === undefined) {
      const allow = [...methods.keys()].join(', ');
      return jsonResponse({ error: 'method not allowed', path, allow }, { status: 405, headers: { allow } });
    }
    request.params = params;
    return handler(request, host);
  }

  #methodsOf(path) {
    if (!path.includes('/:')) {
      if (!this.#fixed.has(path)) this.#fixed.set(path, new Map());
      return this.#fixed.get(path);
    }
    const segments = path.split('/');
    const shape = segments.map((segment) => (segment.startsWith(':') ? ':' : segment)).join('/');
    let pattern = this.#patterns.find((known) => known.path === path);
    if (pattern === undefined) {
      if (this.#patterns.some((known) => known.shape === shape)) {
        throw new TypeError(`${path} matches what another route matches under other names`);
      }
      const names = segments.filter((segment) => segment.startsWith(':'));
      if (names.includes(':') || new Set(names).size < names.length) {
        throw new TypeError(`each parameter of ${path} needs a name of its own`);
      }
      pattern = { path, shape, segments, methods: new Map() };
      this.#patterns.push(pattern);
    }
    return pattern.methods;
  }

  #find(path) {
    const methods = this.#fixed.get(path);
    if (methods !== undefined) return { methods, params: {} };
    if (this.#patterns.length === 0) return undefined;
    const given = path.split('/');
    const pattern = this.#patterns.find(({ segments }) => matches(segments, given));
    return pattern && { methods: pattern.methods, params: parameters(pattern.segments, given) };
  }
}

function matches(segments, given) {
  return (
    segments.length === given.length &&
    segments.every((segment, at) => (segment.startsWith(':') ? given[at] !== '' : segment === given[at]))
  );
}

function parameters(segments, given) {
  const params = {};
  segments.forEach((segment, at) => {
    if (segment.startsWith(':')) params[segment.slice(1)] = decodedSegment(given[at]);
  });
  return params;
}

function decodedSegment(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new HttpError(400, 'the path is not percent-encoded UTF-8');
  }
}
