// What an extension's page may say, checked before anything acts on it. A stranger wrote the other side.

import { type Envelope, isRecord, isText } from '../../protocol/envelope.js';
import { HEIGHT_MAX_PX, HEIGHT_MIN_PX, isPath } from '../../protocol/values.js';
import {
  BODY_MAX_BYTES,
  ERROR_MAX_CHARS,
  HEADERS_MAX_COUNT,
  HEADER_VALUE_MAX_CHARS,
  NONCE_BYTES,
  ROUTE_MAX_CHARS,
  TOAST_MAX_CHARS,
} from './limits.js';

export type ToastLevel = 'info' | 'success' | 'warning' | 'error';

export interface ProxyRequest {
  route: string;
  method: string;
  headers: [string, string][];
  body: ArrayBuffer | string | undefined;
}

export type ClientMessage =
  | { type: 'ready'; nonce: string | undefined }
  | { type: 'resize'; height: number }
  | { type: 'navigate'; path: string }
  | { type: 'apiproxy'; requestId: string; request: ProxyRequest }
  | { type: 'apiproxy_cancel'; requestId: string }
  | { type: 'toast'; level: ToastLevel; text: string }
  | { type: 'error'; message: string; stack: string };

const NONCE = new RegExp(`^[0-9a-f]{${2 * NONCE_BYTES}}$`);
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);
const BODILESS = new Set(['GET', 'HEAD']);
const LEVELS = new Set(['info', 'success', 'warning', 'error']);
const HEADER_NAME = /^[a-z0-9-]{1,64}$/;
const HEADER_VALUE = /^[\t\u0020-\u007e]*$/;
// What a guest can see of a request at all. Others are left out, so that an extension cannot rely on them.
const PASSED_ON = new Set([
  'accept',
  'accept-language',
  'content-type',
  'if-match',
  'if-none-match',
  'traceparent',
  'x-idempotency-key',
  'x-request-id',
]);

/** The message in an envelope; 'unknown' for a type of another release, 'invalid' for a payload that is not its type's. */
export function parseMessage(envelope: Envelope): ClientMessage | 'unknown' | 'invalid' {
  const parse = PARSERS.get(envelope.type);
  if (parse === undefined) return 'unknown';
  return parse(envelope.payload, envelope.request_id) ?? 'invalid';
}

type Parser = (payload: Record<string, unknown>, requestId: string | undefined) => ClientMessage | undefined;

const PARSERS = new Map<string, Parser>([
  ['ready', ready],
  ['resize', resize],
  ['navigate', (payload) => (isPath(payload['path']) ? { type: 'navigate', path: payload['path'] } : undefined)],
  ['apiproxy', apiproxy],
  ['apiproxy_cancel', (_payload, requestId) => (requestId ? { type: 'apiproxy_cancel', requestId } : undefined)],
  ['toast', toast],
  ['error', error],
]);

function ready(payload: Record<string, unknown>): ClientMessage | undefined {
  const nonce = payload['nonce'];
  if (nonce === undefined) return { type: 'ready', nonce };
  return typeof nonce === 'string' && NONCE.test(nonce) ? { type: 'ready', nonce } : undefined;
}

function resize(payload: Record<string, unknown>): ClientMessage | undefined {
  const height = payload['height'];
  if (typeof height !== 'number' || !Number.isFinite(height)) return undefined;
  return { type: 'resize', height: Math.min(HEIGHT_MAX_PX, Math.max(HEIGHT_MIN_PX, Math.ceil(height))) };
}

function toast(payload: Record<string, unknown>): ClientMessage | undefined {
  const { level, text } = payload;
  if (typeof level !== 'string' || !LEVELS.has(level) || !isText(text, TOAST_MAX_CHARS)) return undefined;
  return { type: 'toast', level: level as ToastLevel, text };
}

function error(payload: Record<string, unknown>): ClientMessage | undefined {
  const { message, stack } = payload;
  if (typeof message !== 'string') return undefined;
  const text = typeof stack === 'string' ? stack : '';
  return { type: 'error', message: message.slice(0, ERROR_MAX_CHARS), stack: text.slice(0, ERROR_MAX_CHARS) };
}

function apiproxy(payload: Record<string, unknown>, requestId: string | undefined): ClientMessage | undefined {
  const { route, method, body } = payload;
  const headers = passedOn(payload['headers'] ?? {});
  if (!requestId || !isText(route, ROUTE_MAX_CHARS) || headers === undefined) return undefined;
  if (typeof method !== 'string' || !METHODS.has(method)) return undefined;
  if (body !== undefined && body !== null) {
    if (BODILESS.has(method)) return undefined;
    if (body instanceof ArrayBuffer ? body.byteLength > BODY_MAX_BYTES : !isShortText(body)) return undefined;
  }
  const sent = (body ?? undefined) as ArrayBuffer | string | undefined;
  return { type: 'apiproxy', requestId, request: { route, method, headers, body: sent } };
}

function isShortText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= BODY_MAX_BYTES;
}

function passedOn(headers: unknown): [string, string][] | undefined {
  if (!isRecord(headers)) return undefined;
  const found: [string, string][] = [];
  for (const [given, value] of Object.entries(headers)) {
    const name = given.toLowerCase();
    if (!HEADER_NAME.test(name) || typeof value !== 'string') return undefined;
    if (value.length > HEADER_VALUE_MAX_CHARS || !HEADER_VALUE.test(value)) return undefined;
    if (PASSED_ON.has(name)) found.push([name, value]);
  }
  return found.length <= HEADERS_MAX_COUNT ? found : undefined;
}
