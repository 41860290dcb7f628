// Answers, in the shape the world's `handler` returns.

import { asBytes, encodeText } from './text.js';

/**
 * A value as JSON; bytes are taken as JSON that is written already.
 *
 * @param {unknown} body
 * @param {import('./index.js').ResponseInit} [init]
 */
export function jsonResponse(body, init = {}) {
  return response(body instanceof Uint8Array ? body : encodeText(jsonText(body)), 'application/json', init);
}

/** A text in UTF-8. */
export function textResponse(text, init = {}) {
  return response(encodeText(text), 'text/plain; charset=utf-8', init);
}

/** Bytes as they are. */
export function bytesResponse(bytes, init = {}) {
  return response(asBytes(bytes), 'application/octet-stream', init);
}

/** No body at all. */
export function emptyResponse(status = 204, init = {}) {
  return { status, headers: headerList(init.headers), body: undefined };
}

function response(body, type, { status = 200, headers }) {
  const list = headerList(headers);
  if (!list.some(({ name }) => name.toLowerCase() === 'content-type'))
    list.unshift({ name: 'content-type', value: type });
  return { status, headers: list, body };
}

function jsonText(value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError('this value has no form in JSON');
  return text;
}

/**
 * The world's list of headers, of `{name: value}`, of `[name, value]` pairs, or of such a list.
 *
 * @param {import('./index.js').HeadersInit} [headers]
 * @returns {import('./index.js').HttpHeader[]}
 */
export function headerList(headers = []) {
  const entries = typeof headers[Symbol.iterator] === 'function' ? headers : Object.entries(headers);
  return Array.from(entries, (entry) => {
    const [name, value] = Array.isArray(entry) ? entry : [entry.name, entry.value];
    // A lone surrogate would be a trap at the border.
    return { name: `${name}`.toWellFormed(), value: `${value}`.toWellFormed() };
  });
}
