// Text to bytes and back: UTF-8 of the Encoding Standard, for an engine that has no TextEncoder and TextDecoder.
//
// A loop in bytecode costs 100 ns a character. Where the engine converts base64 (QuickJS), a text takes the way through
// the engine's own functions instead, which is eight times as fast: percent-encoding writes UTF-8, `unescape` makes one
// character of each byte, and base64 carries those characters into an array.

const LABELS = new Set(['utf-8', 'utf8', 'unicode-1-1-utf-8', 'unicode11utf8', 'unicode20utf8', 'x-unicode20utf8']);
const SHORT_CHARS = 24; // up to here the loop is done before four calls are
const CHUNK_BYTES = 8192; // arguments of one call: below the stack of every engine
const REPLACEMENT = 0xfffd;
const hasBase64 = typeof Uint8Array.fromBase64 === 'function' && typeof btoa === 'function';

/** The bytes of a text; a lone surrogate becomes U+FFFD. */
export function encodeUtf8(text) {
  if (!hasBase64 || text.length <= SHORT_CHARS) return encodeByPoint(text);
  return Uint8Array.fromBase64(btoa(unescape(encodeURI(text.toWellFormed()))));
}

function encodeByPoint(text) {
  const bytes = new Uint8Array(text.length * 3);
  let length = 0;
  for (let at = 0; at < text.length; at++) {
    let point = text.codePointAt(at);
    if (point > 0xffff) at++;
    if (point >= 0xd800 && point <= 0xdfff) point = REPLACEMENT;
    if (point < 0x80) {
      bytes[length++] = point;
      continue;
    }
    const tail = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    bytes[length++] = ((0xff00 >> (tail + 1)) & 0xff) | (point >> (6 * tail)); // 110, 1110 or 11110 in front
    for (let shift = 6 * (tail - 1); shift >= 0; shift -= 6) bytes[length++] = 0x80 | ((point >> shift) & 0x3f);
  }
  return bytes.slice(0, length);
}

/**
 * The text of some bytes, a byte order mark included.
 *
 * @param {Uint8Array} bytes
 * @param {boolean} fatal malformed bytes are a TypeError; else each maximal part of them becomes U+FFFD.
 */
export function decodeUtf8(bytes, fatal = false) {
  try {
    return decodeURIComponent(escape(binaryText(bytes)));
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    if (fatal) throw new TypeError('The encoded data was not valid for encoding utf-8');
  }
  return decodeByByte(bytes);
}

// One character for each byte.
function binaryText(bytes) {
  if (hasBase64) return atob(bytes.toBase64());
  let text = '';
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK_BYTES));
  }
  return text;
}

// The standard's own algorithm: https://encoding.spec.whatwg.org/#utf-8-decoder
function decodeByByte(bytes) {
  let text = '';
  let [point, needed, seen, lower, upper] = [0, 0, 0, 0x80, 0xbf];
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (needed > 0) {
      if (byte < lower || byte > upper) {
        text += '\ufffd';
        [point, needed, seen, lower, upper] = [0, 0, 0, 0x80, 0xbf];
        at--; // this byte begins something new
        continue;
      }
      [lower, upper] = [0x80, 0xbf];
      point = (point << 6) | (byte & 0x3f);
      if (++seen === needed) {
        text += String.fromCodePoint(point);
        [point, needed, seen] = [0, 0, 0];
      }
    } else if (byte < 0x80) {
      text += String.fromCharCode(byte);
    } else if (byte >= 0xc2 && byte <= 0xf4) {
      needed = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
      point = byte & (0x3f >> needed);
      if (byte === 0xe0) lower = 0xa0;
      if (byte === 0xed) upper = 0x9f;
      if (byte === 0xf0) lower = 0x90;
      if (byte === 0xf4) upper = 0x8f;
    } else {
      text += '\ufffd';
    }
  }
  return needed > 0 ? `${text}\ufffd` : text;
}

/** `TextEncoder` of the Encoding Standard. */
export class TextEncoder {
  get encoding() {
    return 'utf-8';
  }

  encode(text = '') {
    return encodeUtf8(String(text));
  }

  encodeInto(source, destination) {
    let [read, written] = [0, 0];
    for (const character of String(source)) {
      const bytes = encodeByPoint(character);
      if (written + bytes.length > destination.length) break;
      destination.set(bytes, written);
      written += bytes.length;
      read += character.length;
    }
    return { read, written };
  }
}

/** `TextDecoder` of the Encoding Standard for UTF-8, without streams: a call gets all bytes of its text. */
export class TextDecoder {
  #fatal;
  #ignoreBOM;

  constructor(label = 'utf-8', { fatal = false, ignoreBOM = false } = {}) {
    if (!LABELS.has(String(label).trim().toLowerCase()))
      throw new RangeError(`only utf-8 is decoded here, not ${label}`);
    this.#fatal = Boolean(fatal);
    this.#ignoreBOM = Boolean(ignoreBOM);
  }

  get encoding() {
    return 'utf-8';
  }

  get fatal() {
    return this.#fatal;
  }

  get ignoreBOM() {
    return this.#ignoreBOM;
  }

  decode(input = new Uint8Array(), { stream = false } = {}) {
    if (stream) throw new TypeError('this TextDecoder decodes whole texts only: collect the bytes first');
    const text = decodeUtf8(asBytes(input), this.#fatal);
    return this.#ignoreBOM || text.charCodeAt(0) !== 0xfeff ? text : text.slice(1);
  }
}

/** A view of the bytes of an ArrayBuffer or of any view. Throws TypeError for anything else. */
export function asBytes(input) {
  if (input instanceof Uint8Array) return input;
  if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  if (input instanceof ArrayBuffer) return new Uint8Array(input);
  throw new TypeError('bytes must be a Uint8Array, another view or an ArrayBuffer');
}

const nativeEncoder = typeof globalThis.TextEncoder === 'function' ? new globalThis.TextEncoder() : undefined;
const nativeDecoder = typeof globalThis.TextDecoder === 'function' ? new globalThis.TextDecoder() : new TextDecoder();
const strictDecoder = new (globalThis.TextDecoder ?? TextDecoder)('utf-8', { fatal: true });

/** The UTF-8 bytes of a text, by the engine where it can. */
export const encodeText = nativeEncoder ? (text) => nativeEncoder.encode(text) : encodeUtf8;

/** The text of UTF-8 bytes without its byte order mark; malformed parts become U+FFFD. */
export const decodeText = (bytes) => nativeDecoder.decode(bytes);

/** The same; malformed bytes are a TypeError. */
export const decodeTextStrictly = (bytes) => strictDecoder.decode(bytes);
