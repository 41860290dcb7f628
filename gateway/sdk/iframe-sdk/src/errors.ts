// What can go wrong inside an extension's page, told by a code that does not change.

export type BridgeErrorCode =
  | 'aborted' // the caller's own signal
  | 'bad_answer' // the handler answered with something that is not JSON
  | 'closed' // the bridge was disposed of
  | 'no_host' // this page was not opened by a host's bridge, or the host did not answer
  | 'timeout'
  | (string & {}); // what the host's side refuses by: route_refused, busy, network, session_ended, …

export class BridgeError extends Error {
  readonly code: BridgeErrorCode;

  constructor(code: BridgeErrorCode, message: string) {
    super(message);
    this.name = 'BridgeError';
    this.code = code;
  }
}

/** A handler's answer that is not a success. */
export class HandlerError extends Error {
  readonly status: number;
  /** The body as JSON where it is JSON, else as text. */
  readonly body: unknown;

  constructor(status: number, body: unknown) {
    super(`the handler answered ${status}`);
    this.name = 'HandlerError';
    this.status = status;
    this.body = body;
  }
}
