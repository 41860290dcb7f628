// Calls of the extension's own handler, made by the host page in the name of this frame's session.

import type { Envelope } from '../../protocol/envelope.js';
import { isRecord } from '../../protocol/envelope.js';
import type { Channel } from './channel.js';
import { BridgeError, HandlerError } from './errors.js';

const TIMEOUT_MS = 15_000;

export interface CallInit {
  method?: string;
  headers?: Record<string, string>;
  body?: string | ArrayBuffer | ArrayBufferView;
  signal?: AbortSignal;
  /** 15 seconds unless said otherwise. */
  timeoutMs?: number;
}

export interface JsonInit {
  method?: string;
  /** Sent as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  timeoutMs?: number;
}

/** What a handler answered. */
export class ProxyResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly #body: ArrayBuffer;

  constructor(status: number, headers: Record<string, string>, body: ArrayBuffer) {
    this.status = status;
    this.headers = new Headers(headers);
    this.#body = body;
  }

  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#body);
  }

  text(): string {
    return new TextDecoder().decode(this.#body);
  }

  /** @throws BridgeError (`bad_answer`) when the body is not JSON. */
  json<T = unknown>(): T {
    try {
      return JSON.parse(this.text()) as T;
    } catch {
      throw new BridgeError('bad_answer', 'the handler’s answer is not JSON');
    }
  }
}

interface Waiting {
  resolve(response: ProxyResponse): void;
  reject(error: Error): void;
}

export class UiProxy {
  readonly #channel: Channel;
  readonly #waiting = new Map<string, Waiting>();
  #calls = 0;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /**
   * Calls the extension's handler, as `fetch` would.
   *
   * @param route a path of the handler's own, with or without a leading slash, perhaps with a query.
   * @throws BridgeError when there is no answer; an answer with an error status is an answer.
   */
  async call(route: string, init: CallInit = {}): Promise<ProxyResponse> {
    const { method = 'GET', headers = {}, signal, timeoutMs = TIMEOUT_MS } = init;
    if (signal?.aborted) throw aborted();
    await this.#channel.open();
    const id = `c${(this.#calls += 1)}`;
    const body = copied(init.body);
    return new Promise((resolve, reject) => {
      const cancel = (error: BridgeError): void => {
        waiting.reject(error);
        this.#channel.send('apiproxy_cancel', {}, id);
      };
      const onAbort = (): void => cancel(aborted());
      const timer = setTimeout(() => cancel(new BridgeError('timeout', `no answer within ${timeoutMs} ms`)), timeoutMs);
      const settled = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#waiting.delete(id);
      };
      const waiting: Waiting = {
        resolve: (response) => (settled(), resolve(response)),
        reject: (error) => (settled(), reject(error)),
      };
      this.#waiting.set(id, waiting);
      signal?.addEventListener('abort', onAbort);
      const transfer = body instanceof ArrayBuffer ? [body] : [];
      this.#channel.send('apiproxy', { route, method: method.toUpperCase(), headers, body }, id, transfer);
    });
  }

  /** Takes an `apiproxy_response`. */
  answered({ request_id: id, payload }: Envelope): void {
    const waiting = this.#waiting.get(id ?? '');
    if (waiting === undefined) return;
    const { status, headers, body, error } = payload;
    if (isRecord(error)) {
      waiting.reject(new BridgeError(String(error['code']), String(error['message'])));
    } else if (typeof status !== 'number' || !isRecord(headers)) {
      waiting.reject(new BridgeError('bad_answer', 'the host’s answer has no status'));
    } else {
      const bytes = body instanceof ArrayBuffer ? body : new ArrayBuffer(0);
      waiting.resolve(new ProxyResponse(status, headers as Record<string, string>, bytes));
    }
  }

  close(): void {
    for (const waiting of [...this.#waiting.values()]) waiting.reject(new BridgeError('closed', 'the bridge was closed'));
  }
}

/**
 * Calls a handler that speaks JSON.
 *
 * @throws HandlerError when it does not answer with a success.
 */
export async function callJson<T>(proxy: UiProxy, path: string, init: JsonInit = {}): Promise<T> {
  const { body, headers, ...rest } = init;
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  const kinds = { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
  const method = init.method ?? (body === undefined ? 'GET' : 'POST');
  const answer = await proxy.call(path, { ...rest, ...sent, method, headers: { ...kinds, ...headers } });
  if (answer.ok) return answer.status === 204 ? (undefined as T) : answer.json<T>();
  let told: unknown = answer.text();
  try {
    told = answer.json();
  } catch {
    // then it stays the text it is
  }
  throw new HandlerError(answer.status, told);
}

/** The bytes that go away with the message; the caller keeps its own. */
function copied(body: CallInit['body']): ArrayBuffer | string | undefined {
  if (body === undefined || typeof body === 'string') return body;
  if (body instanceof ArrayBuffer) return body.slice(0);
  return new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice().buffer;
}

function aborted(): BridgeError {
  return new BridgeError('aborted', 'the call was aborted');
}
