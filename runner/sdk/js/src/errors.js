// The two errors a handler meets: one it throws to answer with a status, one the host's interfaces throw.

/** Thrown by a handler: the answer is `status` with `{"error": message, ...details}` as JSON. */
export class HttpError extends Error {
  /**
   * @param {number} status 400–599.
   * @param {string} message what the caller is told.
   * @param {Record<string, unknown>} [details] further members of the answer's body.
   * @param {Record<string, string>} [headers] further headers of the answer.
   */
  constructor(status, message, details = {}, headers = {}) {
    super(message);
    this.name = 'HttpError';
    this.status = status;
    this.details = details;
    this.headers = headers;
  }
}

/** Thrown by a call to the host: the error case of its WIT `result`. */
export class HostError extends Error {
  /**
   * @param {string} iface the WIT interface: `storage`, `ui-proxy`, ….
   * @param {string} code the case of its error enum; `refused` where the WIT error is a text.
   * @param {string} [message] that text.
   */
  constructor(iface, code, message = `${iface}: ${code}`) {
    super(message);
    this.name = 'HostError';
    this.interface = iface;
    this.code = code;
  }
}
