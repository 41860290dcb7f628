// Events that the platform delivers: a POST to the handler the manifest names under `events`, CloudEvents 1.0 as JSON.

import { HttpError } from './errors.js';
import { encodeText } from './text.js';

const TRIGGER = 'x-alga-trigger';
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/**
 * The event that a call delivers.
 *
 * Throws `HttpError` 403 when the platform does not deliver this call but somebody makes it, who may have written
 * anything into it, and 400 when it holds no event.
 *
 * @param {import('./index.js').HandlerRequest} request
 */
export function readEvent(request) {
  if (request.header(TRIGGER) !== 'event') throw new HttpError(403, 'this path takes events that the platform delivers');
  const found = request.json();
  const required = ['id', 'source', 'type', 'time', 'tenant'];
  if (found?.specversion !== '1.0' || required.some((name) => typeof found[name] !== 'string')) {
    throw new HttpError(400, 'the body is no CloudEvents 1.0 event of the platform');
  }
  const { id, source, type, time, tenant } = found;
  return {
    id,
    source,
    type,
    time,
    tenant,
    subject: found.subject ?? null,
    originId: found.originid ?? null,
    contentType: found.datacontenttype ?? null,
    data: found.data ?? null,
    payload: found.data_base64 === undefined ? null : fromBase64(found.data_base64),
  };
}

/** The call that would deliver such an event, for tests: what `handler` gets. */
export function createMockEvent(type, { data, payload, path = '/events', context = {}, ...attributes } = {}) {
  const event = {
    specversion: '1.0',
    id: '00000000-0000-4000-8000-000000000001',
    source: '/host',
    type,
    time: '2026-01-01T00:00:00Z',
    tenant: 'tenant-mock',
    ...attributes,
  };
  if (payload !== undefined) {
    Object.assign(event, { datacontenttype: 'application/octet-stream', data_base64: toBase64(payload) });
  } else if (data !== undefined) {
    Object.assign(event, { datacontenttype: 'application/json', data });
  }
  const headers = { 'content-type': 'application/cloudevents+json', 'x-idempotency-key': event.id, [TRIGGER]: 'event' };
  return {
    context: { tenantId: event.tenant, extensionId: 'extension-mock', ...context },
    http: {
      method: 'POST',
      url: path,
      headers: Object.entries(headers).map(([name, value]) => ({ name, value })),
      body: encodeText(JSON.stringify(event)),
    },
  };
}

// QuickJS has neither atob nor btoa.
function fromBase64(text) {
  const digits = text.replace(/=+$/, '');
  const bytes = new Uint8Array(Math.floor((digits.length * 3) / 4));
  let held = 0;
  let bits = 0;
  let at = 0;
  for (const digit of digits) {
    held = ((held << 6) | ALPHABET.indexOf(digit)) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (held >> bits) & 0xff;
    }
  }
  return bytes;
}

function toBase64(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const [first, second = 0, third = 0] = bytes.subarray(at, at + 3);
    const all = (first << 16) | (second << 8) | third;
    const digits = [18, 12, 6, 0].map((shift) => ALPHABET[(all >> shift) & 63]).join('');
    text += digits.slice(0, bytes.length - at + 1).padEnd(4, '=');
  }
  return text;
}
