// Values that both sides check in the same way: theme tokens, paths of a page's own views, frame heights.

import { isRecord } from './envelope.js';

/** CSS custom property (`--alga-…`) → value. */
export type ThemeTokens = Readonly<Record<string, string>>;

/** What the frame may ask its host to make it: below 100 px nothing can be read, above 4000 the host's page scrolls. */
export const HEIGHT_MIN_PX = 100;
export const HEIGHT_MAX_PX = 4000;

const TOKEN_NAME = /^--alga-[a-z0-9-]{1,64}$/;
const TOKENS_MAX_COUNT = 256;
const TOKEN_VALUE_MAX_CHARS = 512;
const PATH_MAX_CHARS = 2048;
// What a URL parser drops or turns into a slash must not be in a path at all.
const PATH = /^\/(?!\/)[^\\\u0000-\u0020\u007f]*$/;

export function isThemeTokens(value: unknown): value is ThemeTokens {
  if (!isRecord(value)) return false;
  const entries = Object.entries(value);
  return (
    entries.length <= TOKENS_MAX_COUNT &&
    entries.every(
      ([name, text]) => TOKEN_NAME.test(name) && typeof text === 'string' && text.length <= TOKEN_VALUE_MAX_CHARS,
    )
  );
}

/** Whether `value` names a view inside an extension's page: one leading slash, nothing that could name another host. */
export function isPath(value: unknown): value is string {
  return typeof value === 'string' && value.length <= PATH_MAX_CHARS && PATH.test(value);
}
