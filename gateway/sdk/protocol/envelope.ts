// The one form of every message between a host page and an extension's iframe, whichever way it travels.
//
// Names are a contract with pages that were built years ago: members and types are added, never renamed. Who receives
// a type it does not know ignores and counts it.

export const VERSION = '1';

export interface Envelope {
  alga: true;
  version: typeof VERSION;
  type: string;
  request_id?: string;
  payload: Record<string, unknown>;
}

/** Wraps a payload. */
export function envelope(type: string, payload: object = {}, requestId?: string): Envelope {
  const made: Envelope = { alga: true, version: VERSION, type, payload: payload as Record<string, unknown> };
  if (requestId !== undefined) made.request_id = requestId;
  return made;
}

/** Whether something that arrived has the form of an envelope; its payload is not looked into. */
export function isEnvelope(data: unknown): data is Envelope {
  if (!isRecord(data) || data['alga'] !== true || data['version'] !== VERSION) return false;
  const requestId = data['request_id'];
  return (
    isText(data['type'], 64) &&
    (requestId === undefined || isText(requestId, REQUEST_ID_MAX_CHARS)) &&
    isRecord(data['payload'])
  );
}

export const REQUEST_ID_MAX_CHARS = 128;

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ArrayBuffer);
}

/** Whether `value` is a text of 1 to `maxChars` UTF-16 units. */
export function isText(value: unknown, maxChars: number): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= maxChars;
}
