// Between the world's `handler` and an author's: no throw is ever a bare trap, and nothing an engine cannot lower
// leaves.

import { describeError } from './console.js';
import { HttpError } from './errors.js';
import { HandlerRequest } from './request.js';
import { emptyResponse, jsonResponse } from './responses.js';
import { asBytes, encodeText } from './text.js';

const STATUS_MAX = 0xffff; // what the world's u16 holds; the platform judges the rest
const isQuickJs = '__cqjs' in globalThis;

/**
 * The function to export as `handler`.
 *
 * An `HttpError` is answered with its status. Anything else that is thrown is written to the log with its stack and
 * answered with 500 and no detail, because what it says is for the author and not for the caller. Only the engine
 * running out of memory or stack is left to the platform, which has names for that.
 *
 * @param {import('./index.js').Handler | import('./index.js').Router} handler a function of request and host, or a
 *   router. It may be asynchronous on StarlingMonkey; QuickJS runs synchronous ones only.
 * @param {import('./index.js').HostBindings} host what the handler is given as its second argument.
 * @returns {(request: import('./index.js').ExecuteRequest) => import('./index.js').ExecuteResponse}
 */
export function createHandler(handler, host) {
  const answer = typeof handler === 'function' ? handler : handler.handle;
  const { logging } = host; // now, so that a host without it fails the build and not the first error
  return (request) => {
    try {
      const returned = answer(new HandlerRequest(request), host);
      if (typeof returned?.then !== 'function') return checked(returned);
      if (isQuickJs)
        throw new TypeError(
          'the handler returned a promise, and QuickJS cannot wait: build for StarlingMonkey, or leave out `async`',
        );
      return returned.then(checked).catch((thrown) => failed(thrown, logging));
    } catch (thrown) {
      return failed(thrown, logging);
    }
  };
}

/** The answer to whatever was thrown. */
function failed(thrown, logging) {
  if (isExhaustion(thrown)) throw thrown;
  if (thrown instanceof HttpError) return errorResponse(thrown);
  logging.logError(describeError(thrown));
  return jsonResponse({ error: 'internal error' }, { status: 500 });
}

function errorResponse({ status, message, details, headers }) {
  return jsonResponse({ error: message, ...details }, { status, headers });
}

// Out of memory is thrown as an InternalError, a bare text or null, by engine and by what memory was left.
function isExhaustion(thrown) {
  const { InternalError } = globalThis;
  return (
    thrown === null || thrown === 'out of memory' || (InternalError !== undefined && thrown instanceof InternalError)
  );
}

// An engine traps, or worse sends something else, when a value does not have the world's type.
function checked(answer) {
  if (typeof answer !== 'object' || answer === null) {
    throw new TypeError('a handler returns {status, headers, body}: use jsonResponse, textResponse, emptyResponse');
  }
  const { status = 200, headers, body } = answer;
  if (!Number.isInteger(status) || status < 0 || status > STATUS_MAX) throw new TypeError(`not a status: ${status}`);
  const plain = emptyResponse(status, { headers });
  if (body !== undefined && body !== null) plain.body = typeof body === 'string' ? encodeText(body) : asBytes(body);
  return plain;
}
