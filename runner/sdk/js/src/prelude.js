// What an engine lacks of the Web's interfaces, put where code expects it. Import it first:
//
//     import '../vendor/extension-runtime/src/prelude.js';
//
// What is there already stays as it is, so the same line does nothing on StarlingMonkey. An engine without `crypto`
// (QuickJS) gets its randomness from the host, `Math.random` included: its own is seeded while the component is built
// and the same in every call. At the top level of a module that is still so, for what is drawn there is drawn once, at
// build time: draw inside the handler.

import * as logging from 'alga:extension/logging';
import { getRandomBytes } from 'wasi:random/random@0.2.0';
import { createConsole } from './console.js';
import { bindHost } from './host.js';
import { createRandom } from './random.js';
import { TextDecoder, TextEncoder } from './text.js';
import { URL } from './url.js';
import { URLSearchParams } from './url-search-params.js';

function supply(name, value) {
  if (name in globalThis) return false;
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  return true;
}

const { crypto, random } = createRandom(getRandomBytes);
if (supply('crypto', crypto)) Math.random = random;
supply('console', createConsole(bindHost({ logging }).logging));
supply('TextEncoder', TextEncoder);
supply('TextDecoder', TextDecoder);
supply('URL', URL);
supply('URLSearchParams', URLSearchParams);
