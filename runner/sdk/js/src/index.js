// @alga-psa/extension-runtime: what a handler imports. Nothing here imports the world, so all of it runs in plain
// Node.js too; `bindings.js` has the real host, `prelude.js` gives QuickJS what the Web's engines have.

export { createConsole } from './console.js';
export { HostError, HttpError } from './errors.js';
export { createMockEvent, readEvent } from './events.js';
export { createFetch } from './fetch.js';
export { createHandler } from './handler.js';
export { bindHost, bindProvider } from './host.js';
export { createMockHostBindings } from './mock.js';
export { HandlerRequest } from './request.js';
export { bytesResponse, emptyResponse, jsonResponse, textResponse } from './responses.js';
export { Router } from './router.js';
export { decodeText, encodeText } from './text.js';
