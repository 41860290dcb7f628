import type { Fetch, HostBindings } from './index.js';

/** The host of the running guest, with every interface of the world. */
export const host: HostBindings;

/** `fetch` over `host.http`, without promises. */
export const fetch: Fetch;
