// The bridge between an extension's page and the host around it.

import type { Envelope } from '../../protocol/envelope.js';
import { isRecord } from '../../protocol/envelope.js';
import { type ThemeTokens, HEIGHT_MAX_PX, HEIGHT_MIN_PX, isThemeTokens } from '../../protocol/values.js';
import { Channel } from './channel.js';
import { BridgeError } from './errors.js';
import { type CallInit, type JsonInit, type ProxyResponse, UiProxy, callJson } from './proxy.js';

/** What the host said first. */
export interface Bootstrap {
  session: Session;
  theme_tokens: ThemeTokens;
  navigation: { path: string };
}

export interface Session {
  token: string;
  /** Milliseconds since the epoch. */
  expires_at: number;
}

export interface HostEvents {
  bootstrap: Bootstrap;
  theme_tokens: ThemeTokens;
  session: Session;
  visibility: { visible: boolean };
}

export type ToastLevel = 'info' | 'success' | 'warning' | 'error';

const RENEWAL_MAX_MS = 15_000; // the host renews before the end; this is for a laptop that slept
const ENDS_SOON_MS = 2_000;

/** Makes the bridge of this page. `ready()` connects it. */
export function createBridge(view: Window = window): IframeBridge {
  return new IframeBridge(view);
}

export class IframeBridge {
  /** Calls of the extension's own handler, as `fetch` makes them. */
  readonly uiProxy: { call(route: string, init?: CallInit): Promise<ProxyResponse> };
  readonly #view: Window;
  readonly #channel: Channel;
  readonly #proxy: UiProxy;
  readonly #listeners = new Map<keyof HostEvents, Set<(payload: never) => void>>();
  #bootstrap: Bootstrap | undefined;
  #session: Session | undefined;
  #theme: ThemeTokens = {};
  #ready: Promise<Bootstrap> | undefined;

  constructor(view: Window) {
    this.#view = view;
    this.#channel = new Channel(view, (message) => this.#received(message));
    this.#proxy = new UiProxy(this.#channel);
    this.uiProxy = this.#proxy;
  }

  /**
   * Connects; settles when session and theme are there. Call it as early as possible, once or often.
   *
   * @throws BridgeError (`no_host`) in a page that no host has opened.
   */
  ready(): Promise<Bootstrap> {
    this.#ready ??= this.#start();
    return this.#ready;
  }

  /** Calls `listener` with every message of a type from now on; the answer ends that. */
  on<T extends keyof HostEvents>(type: T, listener: (payload: HostEvents[T]) => void): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** The session's token, good for some seconds at least: for what the host's proxy does not do. */
  async getToken(): Promise<string> {
    await this.ready();
    const session = this.#session as Session;
    if (session.expires_at - Date.now() > ENDS_SOON_MS) return session.token;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        stop();
        reject(new BridgeError('session_ended', 'the host sent no new session'));
      }, RENEWAL_MAX_MS);
      const stop = this.on('session', ({ token }) => {
        clearTimeout(timer);
        stop();
        resolve(token);
      });
    });
  }

  /** Tells the host which view this page shows, so that it can be linked to. One leading slash. */
  navigate(path: string): void {
    this.#channel.send('navigate', { path });
  }

  /** Asks for a frame of this height, in pixels: 100 to 4000. */
  resize(height: number): void {
    this.#channel.send('resize', { height: Math.min(HEIGHT_MAX_PX, Math.max(HEIGHT_MIN_PX, Math.ceil(height))) });
  }

  /** Keeps the frame as high as `element` needs, the page's body unless another is named; the answer ends that. */
  autoResize(element: Element = this.#view.document.body): () => void {
    let last = 0;
    const observer = new ResizeObserver(() => {
      const height = Math.ceil(Math.max(element.getBoundingClientRect().height, element.scrollHeight));
      if (height !== last) this.resize((last = height));
    });
    this.ready().then(
      () => observer.observe(element),
      () => undefined, // without a host there is no frame to resize
    );
    return () => observer.disconnect();
  }

  /** Puts tokens onto the document as CSS custom properties; the host's current ones unless others are given. */
  applyTheme(tokens: ThemeTokens = this.#theme): void {
    const { style } = this.#view.document.documentElement;
    for (const [name, value] of Object.entries(tokens)) style.setProperty(name, value);
  }

  /** Calls `listener` with the tokens there are and with each change; the answer ends that. */
  subscribeTheme(listener: (tokens: ThemeTokens) => void): () => void {
    if (this.#bootstrap) listener(this.#theme);
    return this.on('theme_tokens', listener);
  }

  /** Calls a handler that speaks JSON; throws a HandlerError when it does not answer with a success. */
  callHandlerJson<T = unknown>(path: string, init: JsonInit = {}): Promise<T> {
    return callJson<T>(this.#proxy, path, init);
  }

  /** Lets the host show a short message, as plain text. */
  toast(text: string, level: ToastLevel = 'info'): void {
    this.#channel.send('toast', { level, text });
  }

  /** Tells the host of a fault of this page. */
  reportError(error: unknown): void {
    const { message, stack } = error instanceof Error ? error : new Error(String(error));
    this.#channel.send('error', { message, stack: stack ?? '' });
  }

  /** Ends the bridge; calls under way fail. */
  dispose(): void {
    this.#proxy.close();
    this.#channel.close();
    this.#listeners.clear();
  }

  async #start(): Promise<Bootstrap> {
    const told = new Promise<Bootstrap>((resolve) => {
      const stop = this.on('bootstrap', (bootstrap) => (stop(), resolve(bootstrap)));
    });
    await this.#channel.open();
    return told;
  }

  #received(message: Envelope): void {
    const { type, payload } = message;
    if (type === 'apiproxy_response') {
      this.#proxy.answered(message);
    } else if (type === 'bootstrap' && isBootstrap(payload)) {
      this.#bootstrap = payload;
      this.#session = payload.session;
      this.#theme = payload.theme_tokens;
      this.#tell('bootstrap', payload);
      this.#tell('theme_tokens', payload.theme_tokens);
    } else if (type === 'session' && isSession(payload)) {
      this.#session = payload;
      this.#tell('session', payload);
    } else if (type === 'theme_tokens' && isThemeTokens(payload)) {
      this.#theme = payload;
      this.#tell('theme_tokens', payload);
    } else if (type === 'visibility' && typeof payload['visible'] === 'boolean') {
      this.#tell('visibility', { visible: payload['visible'] });
    }
  }

  #tell<T extends keyof HostEvents>(type: T, payload: HostEvents[T]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) (listener as (payload: HostEvents[T]) => void)(payload);
  }
}

function isSession(value: unknown): value is Session {
  return isRecord(value) && typeof value['token'] === 'string' && typeof value['expires_at'] === 'number';
}

function isBootstrap(value: Record<string, unknown>): value is Record<string, unknown> & Bootstrap {
  const { session, theme_tokens, navigation } = value;
  return isSession(session) && isThemeTokens(theme_tokens) && isRecord(navigation) && typeof navigation['path'] === 'string';
}
