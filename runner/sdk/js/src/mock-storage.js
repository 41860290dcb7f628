// The storage of the host for tests: in memory, with the platform's rules. Names, order, revisions, limits, quotas and
// errors are the platform's, so that what passes here works there.

import { encodeText } from './text.js';

const KIB = 1024;

/** What the platform allows; the same numbers for every install. */
export const STORAGE_LIMITS = Object.freeze({
  namespaceChars: 128,
  keyChars: 256,
  valueBytes: 64 * KIB,
  namespaces: 32,
  keysPerNamespace: 5120,
  bytes: 256 * KIB * KIB,
  pageEntries: 100,
});

/**
 * The functions of `alga:extension/storage`, as an engine would import them.
 *
 * @param {(code: string) => never} refuse throws the error case of a WIT result.
 */
export function mockStorage(refuse) {
  const namespaces = new Map();
  let bytes = 0;

  function put({ namespace, key, value, revision }) {
    checkNames(refuse, namespace, key);
    if (value.length > STORAGE_LIMITS.valueBytes) refuse('denied');
    const held = namespaces.get(namespace)?.get(key);
    if (revision !== undefined && revision !== (held?.revision ?? 0)) refuse('conflict');
    const grown = bytes + value.length - (held?.value.length ?? 0);
    if (grown > STORAGE_LIMITS.bytes || !hasRoom(namespaces, namespace, held)) refuse('denied');
    const entry = { namespace, key, value: value.slice(), revision: (held?.revision ?? 0) + 1 };
    if (!namespaces.has(namespace)) namespaces.set(namespace, new Map());
    namespaces.get(namespace).set(key, entry);
    bytes = grown;
    return copy(entry);
  }

  function remove(namespace, key) {
    checkNames(refuse, namespace, key);
    const entries = namespaces.get(namespace);
    const held = entries?.get(key) ?? refuse('missing');
    entries.delete(key);
    if (entries.size === 0) namespaces.delete(namespace);
    bytes -= held.value.length;
  }

  return {
    get: (namespace, key) => {
      checkNames(refuse, namespace, key);
      return copy(namespaces.get(namespace)?.get(key) ?? refuse('missing'));
    },
    put,
    delete: remove,
    listEntries: (namespace, cursor = '') => {
      if (!isName(namespace, STORAGE_LIMITS.namespaceChars) || !isCursor(cursor)) refuse('internal');
      return [...(namespaces.get(namespace)?.values() ?? [])]
        .filter(({ key }) => compare(key, cursor) > 0)
        .sort((a, b) => compare(a.key, b.key))
        .slice(0, STORAGE_LIMITS.pageEntries)
        .map(copy);
    },
  };
}

function copy(entry) {
  return { ...entry, value: entry.value.slice() };
}

function checkNames(refuse, namespace, key) {
  if (!isName(namespace, STORAGE_LIMITS.namespaceChars) || !isName(key, STORAGE_LIMITS.keyChars)) refuse('internal');
}

function isName(text, maxChars) {
  return text !== '' && !text.includes('/') && !text.includes('\0') && chars(text) <= maxChars;
}

function isCursor(text) {
  return !text.includes('\0') && chars(text) <= STORAGE_LIMITS.keyChars;
}

// Code points, as the platform counts: not the UTF-16 units of `length`.
function chars(text) {
  return [...text].length;
}

function hasRoom(namespaces, namespace, held) {
  const entries = namespaces.get(namespace);
  if (entries === undefined) return namespaces.size < STORAGE_LIMITS.namespaces;
  return held !== undefined || entries.size < STORAGE_LIMITS.keysPerNamespace;
}

// By the bytes of UTF-8, as the platform orders keys: `<` would compare UTF-16 units, and put U+10000 before U+FFFF.
function compare(a, b) {
  const [left, right] = [encodeText(a), encodeText(b)];
  const shorter = Math.min(left.length, right.length);
  for (let at = 0; at < shorter; at++) if (left[at] !== right[at]) return left[at] - right[at];
  return left.length - right.length;
}
