// What can go wrong on the host's side, told by a code that does not change.

export type HostErrorCode =
  | 'extension_error' // the page inside reported a fault of its own
  | 'frame_lost' // the frame shows another document than the one it was opened for
  | 'frame_silent' // the page inside never said that it is ready
  | 'invalid_option' // `bootstrapIframe` or `buildExtUiSrc` was called with something that is not safe
  | 'session_ended'; // no new session could be had before the old one ended

export class HostError extends Error {
  readonly code: HostErrorCode;

  constructor(code: HostErrorCode, message: string) {
    super(message);
    this.name = 'HostError';
    this.code = code;
  }
}

/** Refuses an option, saying what would be valid. */
export function refused(message: string): HostError {
  return new HostError('invalid_option', message);
}
