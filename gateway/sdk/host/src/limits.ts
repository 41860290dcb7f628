// Every limit of the host's side: unit last in the name, the reason beside it.

export const NONCE_BYTES = 16; // 128 bits: cannot be guessed
export const READY_MAX_MS = 30_000; // a first load over a slow line; later nobody waits for the frame any more
export const PROXY_MAX_MS = 35_000; // the gateway ends a call after 30 s itself
export const BODY_MAX_BYTES = 10 * 1024 * 1024; // the gateway's own limit: refused before it is sent
export const IN_FLIGHT_MAX_COUNT = 32; // calls of one frame at once
export const ROUTE_MAX_CHARS = 8192; // a request line that every server takes
export const HEADERS_MAX_COUNT = 32;
export const HEADER_VALUE_MAX_CHARS = 4096;
export const TOAST_MAX_CHARS = 500; // two lines on a screen
export const ERROR_MAX_CHARS = 8192; // a message with its stack
export const RENEW_BEFORE_MS = 60_000; // two retries and a slow answer fit in
export const RENEW_RETRY_MS = 5_000; // a gateway that restarts is back by then
export const EXPIRED_SOON_MS = 2_000; // a token this old would end on its way
export const TIMER_MAX_MS = 2 ** 31 - 1; // longer ones fire at once (HTML, timers)
