// The host itself, with every interface of the world. A project that declares fewer capabilities has a smaller world
// and binds what it has:
//
//     import * as logging from 'alga:extension/logging';
//     import * as storage from 'alga:extension/storage';
//     export const host = bindHost({ logging, storage });

import * as config from 'alga:extension/config';
import * as context from 'alga:extension/context';
import * as events from 'alga:extension/events';
import * as http from 'alga:extension/http';
import * as logging from 'alga:extension/logging';
import * as metrics from 'alga:extension/metrics';
import * as scheduler from 'alga:extension/scheduler';
import * as secrets from 'alga:extension/secrets';
import * as storage from 'alga:extension/storage';
import * as uiProxy from 'alga:extension/ui-proxy';
import * as user from 'alga:extension/user';
import * as userV2 from 'alga:extension/user-v2';
import { bindHost } from './host.js';

export const host = bindHost({
  config,
  context,
  events,
  http,
  logging,
  metrics,
  scheduler,
  secrets,
  storage,
  uiProxy,
  user,
  userV2,
});

/** `fetch` over the host, without promises; also the global one. */
export const { fetch } = host;

// StarlingMonkey has one of its own, which goes through `wasi:http` and would end the guest.
globalThis.fetch = fetch;
