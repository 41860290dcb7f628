// Types of `events.js`; exported by `index.d.ts`.

import type { ContextData, ExecuteRequest, HandlerRequest } from './index.js';

/** One event that the platform delivers; it may come again, with the same `id`. */
export interface DeliveredEvent {
  id: string;
  /** Who published: `/extensions/{publisher}.{name}`, or a part of the host application. */
  source: string;
  /** Its topic. */
  type: string;
  /** When it happened, RFC 3339. */
  time: string;
  /** Whose it is: always the tenant of the call. */
  tenant: string;
  subject: string | null;
  /** The host application's own id. */
  originId: string | null;
  contentType: string | null;
  /** What it says, when that is JSON. */
  data: unknown;
  /** What it says, when that is something else. */
  payload: Uint8Array | null;
}

/** Throws `HttpError` 403 for a call that is no delivery of the platform's, 400 for one that holds no event. */
export function readEvent(request: HandlerRequest): DeliveredEvent;

/** The call that would deliver such an event, for tests; attributes by their CloudEvents names. */
export function createMockEvent(
  type: string,
  event?: {
    data?: unknown;
    payload?: Uint8Array;
    path?: string;
    context?: Partial<ContextData>;
    id?: string;
    source?: string;
    subject?: string;
    time?: string;
    tenant?: string;
    originid?: string;
  },
): ExecuteRequest;
