// The session of one iframe: handed over, and replaced by a fresh one before it ends.

import { HostError, refused } from './errors.js';
import { EXPIRED_SOON_MS, RENEW_BEFORE_MS, RENEW_RETRY_MS, TIMER_MAX_MS } from './limits.js';

/** As the bootstrap answer has it. */
export interface Session {
  token: string;
  /** Milliseconds since the epoch, or an ISO 8601 text. */
  expiresAt: number | string;
}

/** As it travels to the page inside. */
export interface WireSession {
  token: string;
  expires_at: number;
}

export type RenewSession = () => Promise<Session>;

export class SessionKeeper {
  readonly #renew: RenewSession;
  readonly #onRenewed: (session: WireSession) => void;
  readonly #onEnded: (error: HostError) => void;
  #current: WireSession;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #flight: Promise<void> | undefined;
  #closed = false;

  /** @throws HostError when `session` is not one. */
  constructor(
    session: Session,
    renew: RenewSession,
    onRenewed: (session: WireSession) => void,
    onEnded: (error: HostError) => void,
  ) {
    this.#current = wire(session);
    this.#renew = renew;
    this.#onRenewed = onRenewed;
    this.#onEnded = onEnded;
    this.#schedule(this.#untilRenewal());
  }

  /** What is known now, perhaps ended. */
  get known(): WireSession {
    return this.#current;
  }

  /** A session that is still good, renewed first when it is not. Throws a HostError when none can be had. */
  async fresh(): Promise<WireSession> {
    if (this.#left() <= EXPIRED_SOON_MS) await this.#renewOnce();
    if (this.#left() <= 0) throw new HostError('session_ended', 'the session of this frame ended');
    return this.#current;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #left(): number {
    return this.#current.expires_at - Date.now();
  }

  /** A minute before the end; at half time for sessions that are shorter than two. */
  #untilRenewal(): number {
    const left = this.#left();
    return left > 2 * RENEW_BEFORE_MS ? left - RENEW_BEFORE_MS : left / 2;
  }

  #schedule(afterMs: number): void {
    clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(() => void this.#renewOnce(), Math.min(TIMER_MAX_MS, Math.max(0, afterMs)));
  }

  #renewOnce(): Promise<void> {
    this.#flight ??= this.#attempt().finally(() => {
      this.#flight = undefined;
    });
    return this.#flight;
  }

  async #attempt(): Promise<void> {
    try {
      const renewed = wire(await this.#renew());
      if (this.#closed) return;
      this.#current = renewed;
      this.#onRenewed(renewed);
      this.#schedule(Math.max(RENEW_RETRY_MS, this.#untilRenewal()));
    } catch (error) {
      if (this.#closed) return;
      if (this.#left() > RENEW_RETRY_MS) {
        this.#schedule(RENEW_RETRY_MS);
        return;
      }
      const reason = error instanceof Error ? error.message : String(error);
      this.#onEnded(new HostError('session_ended', `no new session before the old one ended: ${reason}`));
    }
  }
}

/** Asks the gateway's bootstrap endpoint; works where the host application puts its credential on that path. */
export function fromBootstrapEndpoint(apiBase: URL, extensionId: string): RenewSession {
  const path = `${apiBase.pathname.replace(/\/+$/, '')}/api/ext-ui/bootstrap/${encodeURIComponent(extensionId)}`;
  return async () => {
    const answer = await fetch(new URL(path, apiBase.origin), { credentials: 'same-origin', cache: 'no-store' });
    if (!answer.ok) throw new Error(`the bootstrap endpoint answered ${answer.status}`);
    return ((await answer.json()) as { session: Session }).session;
  };
}

function wire(session: Session): WireSession {
  const { token, expiresAt } = session ?? {};
  const expires = typeof expiresAt === 'string' ? Date.parse(expiresAt) : expiresAt;
  if (typeof token !== 'string' || !token) throw refused('session.token must be a text');
  if (typeof expires !== 'number' || !Number.isFinite(expires)) throw refused('session.expiresAt must be a time');
  return { token, expires_at: expires };
}
