// A guest that does with a secret what it should and everything it should not. Its twin in Python is app.py.

import '../vendor/extension-runtime/src/prelude.js';
import * as logging from 'alga:extension/logging';
import * as secrets from 'alga:extension/secrets';
import {
  HostError,
  Router,
  bindHost,
  createHandler,
  emptyResponse,
  encodeText,
  jsonResponse,
} from '../vendor/extension-runtime/src/index.js';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

function base64(text) {
  const bytes = encodeText(text);
  let encoded = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const [first, second = 0, third = 0] = bytes.slice(at, at + 3);
    const digits = [first >> 2, ((first & 3) << 4) | (second >> 4), ((second & 15) << 2) | (third >> 6), third & 63];
    encoded += digits.map((digit, place) => (place > bytes.length - at ? '=' : ALPHABET[digit])).join('');
  }
  return encoded;
}

function get(request, host) {
  try {
    return jsonResponse({ value: host.secrets.get(request.params.name) });
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return jsonResponse({ error: error.code });
  }
}

function say(request, host) {
  const value = host.secrets.get(request.params.name);
  const said = [value, encodeURIComponent(value), JSON.stringify({ key: value }), base64(value), base64(`user:${value}`)];
  for (const text of said) {
    host.logging.info(`said ${text}`);
    console.log(`said ${text}`);
    console.error(`said ${text}`);
  }
  console.log('x'.repeat(8180) + value);
  return emptyResponse();
}

function fail(request, host) {
  throw new RangeError(`it failed on ${host.secrets.get(request.params.name)}`);
}

function header(request, host) {
  return { headers: { [`no name: ${host.secrets.get(request.params.name)}`]: '1' }, body: '' };
}

const router = new Router({
  '/get/:name': { GET: get },
  '/list': { GET: (_request, host) => jsonResponse({ names: host.secrets.listKeys() }) },
  '/say/:name': { GET: say },
  '/fail/:name': { GET: fail },
  '/header/:name': { GET: header },
});

export const handler = createHandler(router, bindHost({ logging, secrets }));
