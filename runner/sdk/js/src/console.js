// `console` for an engine that has none: every line goes to the extension's debug stream at its level.

const SPECIFIERS = /%[sdifjoOc%]/g;
const CAUSES_MAX = 5; // of one error: they may run in a circle

/**
 * A console that writes lines.
 *
 * @param {{logInfo(line: string): void, logWarn(line: string): void, logError(line: string): void}} logging
 */
export function createConsole(logging) {
  const at =
    (write) =>
    (...values) =>
      write(formatted(values));
  const info = at((line) => logging.logInfo(line));
  const warn = at((line) => logging.logWarn(line));
  const error = at((line) => logging.logError(line));
  return {
    log: info,
    info,
    debug: info,
    warn,
    error,
    trace: (...values) => error(...values, `\n${new Error().stack ?? ''}`),
    assert: (holds, ...values) => {
      if (!holds) error('Assertion failed', ...values);
    },
  };
}

/** One line of a console call's arguments; `%s` and its like are filled in when the first is a text. */
export function formatted(values) {
  const rest = [...values];
  const parts = [];
  if (typeof rest[0] === 'string' && rest.length > 1) {
    parts.push(rest.shift().replace(SPECIFIERS, (specifier) => filledIn(specifier, rest)));
  }
  return [...parts, ...rest.map(shown)].join(' ').toWellFormed();
}

function filledIn(specifier, rest) {
  if (specifier === '%%') return '%';
  if (rest.length === 0) return specifier;
  const value = rest.shift();
  if (specifier === '%s') return typeof value === 'string' ? value : shown(value);
  if (specifier === '%d' || specifier === '%f') return String(typeof value === 'symbol' ? NaN : Number(value));
  if (specifier === '%i') return String(typeof value === 'symbol' ? NaN : Math.trunc(Number(value)));
  return specifier === '%c' ? '' : shown(value);
}

/** A value as a reader of a log wants it. Never throws. */
function shown(value) {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return describeError(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object' || value === null) return typeof value === 'function' ? '[function]' : String(value);
  const above = [];
  const plain = function (_key, held) {
    if (typeof held === 'bigint') return `${held}n`;
    if (held instanceof Error) return describeError(held);
    if (typeof held !== 'object' || held === null) return held;
    while (above.length > 0 && above.at(-1) !== this) above.pop();
    if (above.includes(held)) return '[circular]';
    above.push(held);
    return ArrayBuffer.isView(held) ? `[${held.byteLength} bytes]` : held;
  };
  try {
    return JSON.stringify(value, plain) ?? String(value);
  } catch (error) {
    return `[${error}]`;
  }
}

/** Name, message, place and causes of whatever was thrown, in the order a reader wants them. */
export function describeError(thrown, depth = 0) {
  if (!(thrown instanceof Error)) return `thrown: ${shown(thrown)}`;
  const title = `${thrown.name}: ${thrown.message}`;
  const stack = thrown.stack ?? '';
  const told = stack.startsWith(title) ? stack : `${title}\n${stack}`; // V8 repeats the title, the others do not
  const goesOn = thrown.cause !== undefined && depth < CAUSES_MAX;
  return told.trimEnd() + (goesOn ? `\ncaused by ${describeError(thrown.cause, depth + 1)}` : '');
}
