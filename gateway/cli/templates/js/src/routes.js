// What the extension answers. A route gets the request and the host; it returns an answer, or throws an HttpError.

import { HttpError, Router, jsonResponse } from '../vendor/extension-runtime/src/index.js';

const NAME_MAX_CHARS = 100;

export const routes = new Router({
  '/hello': { GET: hello },
});

function hello(request, host) {
  const name = request.query.get('name') ?? 'world';
  if (name.length > NAME_MAX_CHARS) throw new HttpError(400, `a name has at most ${NAME_MAX_CHARS} characters`);
  host.logging.info(`greeting ${name}`);
  return jsonResponse({ message: `Hello, ${name}!`, tenant: host.context.get().tenantId });
}
