// What a handler gives to the host, checked before it crosses the border: there, a wrong type is a trap (QuickJS) or
// silently something else (StarlingMonkey).

import { asBytes, encodeText } from './text.js';

export function text(value, what) {
  if (typeof value !== 'string') throw new TypeError(`${what} must be a text, not ${typeof value}`);
  return value.toWellFormed();
}

export function optionalText(value, what) {
  return value === undefined || value === null ? undefined : text(value, what);
}

export function bytes(value) {
  return typeof value === 'string' ? encodeText(value) : asBytes(value);
}

export function optionalBytes(value) {
  return value === undefined || value === null ? undefined : bytes(value);
}

export function revision(value) {
  if (value === undefined || value === null) return undefined;
  if (!Number.isSafeInteger(value) || value < 0) throw new TypeError('a revision must be a whole number');
  return value;
}

export function flag(value, what) {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw new TypeError(`${what} must be true or false`);
  return value;
}

export function whole(value, what) {
  if (value === undefined || value === null) return undefined;
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** 32) throw new TypeError(`${what} must be a whole number`);
  return value;
}

export function number(value, what) {
  if (typeof value !== 'number') throw new TypeError(`${what} must be a number, not ${typeof value}`);
  return value;
}
