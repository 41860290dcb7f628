// Calls that the page inside cannot make itself: its origin is opaque and its policy says `connect-src 'none'`.
//
// The page's words decide nothing about who is calling: the credential is the frame's session, never this page's
// cookies, and the route cannot leave the extension's own path, not even by a redirect.

import { envelope } from '../../protocol/envelope.js';
import { BODY_MAX_BYTES, IN_FLIGHT_MAX_COUNT, PROXY_MAX_MS } from './limits.js';
import type { ProxyRequest } from './messages.js';
import { resolveRoute } from './route.js';
import type { SessionKeeper } from './session.js';

export type Send = (message: object, transfer?: Transferable[]) => void;

export type ProxyErrorCode =
  | 'busy'
  | 'invalid_request'
  | 'network'
  | 'response_too_large'
  | 'route_refused'
  | 'session_ended'
  | 'timeout';

export class ApiProxy {
  readonly #extensionId: string;
  readonly #apiBase: URL;
  readonly #sessions: SessionKeeper;
  readonly #flights = new Map<string, AbortController>();

  constructor(extensionId: string, apiBase: URL, sessions: SessionKeeper) {
    this.#extensionId = extensionId;
    this.#apiBase = apiBase;
    this.#sessions = sessions;
  }

  /** Makes one call and sends what came of it, also when it was refused. */
  async call(requestId: string, request: ProxyRequest, send: Send): Promise<void> {
    const url = resolveRoute(request.route, this.#extensionId, this.#apiBase);
    if (url === undefined) {
      fail(send, requestId, 'route_refused', 'a route stays below the extension’s own path: no scheme, no //, no ..');
    } else if (this.#flights.size >= IN_FLIGHT_MAX_COUNT || this.#flights.has(requestId)) {
      fail(send, requestId, 'busy', `at most ${IN_FLIGHT_MAX_COUNT} calls at once, each with an id of its own`);
    } else {
      const flight = new AbortController();
      this.#flights.set(requestId, flight);
      try {
        await this.#fly(requestId, request, url, flight, send);
      } finally {
        this.#flights.delete(requestId);
      }
    }
  }

  /** Ends a call; nobody waits for its answer any more. */
  cancel(requestId: string): void {
    this.#flights.get(requestId)?.abort();
  }

  cancelAll(): void {
    for (const flight of this.#flights.values()) flight.abort();
  }

  async #fly(requestId: string, request: ProxyRequest, url: URL, flight: AbortController, send: Send): Promise<void> {
    const late = AbortSignal.timeout(PROXY_MAX_MS);
    let token: string;
    try {
      token = (await this.#sessions.fresh()).token;
    } catch {
      fail(send, requestId, 'session_ended', 'the session of this frame ended');
      return;
    }
    try {
      const answer = await fetch(url, {
        method: request.method,
        headers: [...request.headers, ['authorization', `Bearer ${token}`]],
        body: request.body ?? null,
        credentials: 'omit',
        redirect: 'manual',
        referrerPolicy: 'no-referrer',
        cache: 'no-store',
        signal: AbortSignal.any([flight.signal, late]),
      });
      await this.#answer(requestId, answer, send);
    } catch {
      if (flight.signal.aborted) return;
      if (late.aborted) fail(send, requestId, 'timeout', `no answer within ${PROXY_MAX_MS} ms`);
      else fail(send, requestId, 'network', 'the gateway could not be reached');
    }
  }

  async #answer(requestId: string, answer: Response, send: Send): Promise<void> {
    if (answer.type === 'opaqueredirect') {
      fail(send, requestId, 'route_refused', 'the handler answered with a redirect, which is not followed');
      return;
    }
    if (Number(answer.headers.get('content-length') ?? 0) > BODY_MAX_BYTES) {
      await answer.body?.cancel();
      fail(send, requestId, 'response_too_large', `an answer has at most ${BODY_MAX_BYTES} bytes`);
      return;
    }
    const body = await answer.arrayBuffer();
    const payload = { status: answer.status, headers: Object.fromEntries(answer.headers), body };
    send(envelope('apiproxy_response', payload, requestId), [body]);
  }
}

/** Answers a call that was not made. */
export function fail(send: Send, requestId: string, code: ProxyErrorCode, message: string): void {
  send(envelope('apiproxy_response', { status: 0, headers: {}, error: { code, message } }, requestId));
}
