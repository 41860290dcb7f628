// Puts an extension's page into an iframe and serves it: session, theme, calls of its own handler.

import { type Envelope, envelope } from '../../protocol/envelope.js';
import { type ThemeTokens, isPath, isThemeTokens } from '../../protocol/values.js';
import { ApiProxy, fail } from './apiproxy.js';
import { HostError, refused } from './errors.js';
import { warnWithoutFramePolicy } from './frame-policy.js';
import { Handover, legacyTarget } from './handover.js';
import { READY_MAX_MS } from './limits.js';
import { type ClientMessage, type ToastLevel, parseMessage } from './messages.js';
import { type RenewSession, type Session, SessionKeeper, fromBootstrapEndpoint } from './session.js';
import { buildExtUiSrc, checkedSrc, confine } from './source.js';

export interface BootstrapOptions {
  iframe: HTMLIFrameElement;
  extensionId: string;
  contentHash: string;
  /** The view inside the extension, with one leading slash. */
  initialPath?: string;
  session: Session;
  themeTokens: ThemeTokens;
  /** Origin (or a URL at it) that the frame may show; required when the address is absolute. */
  allowedOrigin?: string;
  /** The address as the bootstrap answer has it; otherwise built from the base. */
  src?: string;
  /** `RUNNER_PUBLIC_BASE`; `allowedOrigin` when left out, else the relative `/ext-ui`. */
  publicBase?: string;
  tenantId?: string;
  /** Travels with the `bootstrap` message. */
  requestId?: string;
  /** Where the gateway's `/api` stands; this page's origin when left out. */
  apiBase?: string;
  /** Where a new session comes from; the gateway's bootstrap endpoint when left out. */
  renewSession?: RenewSession;
  /** Title of the frame for people who cannot see it. */
  title?: string;
  onNavigate?: (path: string) => void;
  onResize?: (heightPx: number) => void;
  onToast?: (level: ToastLevel, text: string) => void;
  onError?: (error: HostError) => void;
  /** Also serve pages that speak plain window messages: without a nonce, so only for pages that need it. */
  legacy?: boolean;
  /** Whether to warn when the page sends no `frame-src`; on unless switched off. */
  warnWithoutFrameSrc?: boolean;
}

export interface ExtensionFrame {
  /** Settles when the page inside has session and theme; fails with a HostError when it never asked for them. */
  readonly ready: Promise<void>;
  /** Messages that were not understood: a stranger's, a later release's, or not of their type's form. */
  readonly ignoredCount: number;
  setTheme(tokens: ThemeTokens): void;
  /** Ends everything. The frame keeps what it shows, and can do nothing with it any more. */
  dispose(): void;
}

/**
 * Opens an extension in `iframe` and serves it until `dispose`.
 *
 * The iframe's `src` is set here, since it carries the nonce of the hand-over.
 *
 * @throws HostError (`invalid_option`) when an option is not safe; says what would be.
 */
export function bootstrapIframe(options: BootstrapOptions): ExtensionFrame {
  return new Frame(options);
}

interface Settle {
  resolve: () => void;
  reject: (error: HostError) => void;
}

class Frame implements ExtensionFrame {
  readonly ready: Promise<void>;
  readonly #options: BootstrapOptions;
  readonly #document: Document;
  readonly #sessions: SessionKeeper;
  readonly #proxy: ApiProxy;
  readonly #handover: Handover;
  readonly #silence: ReturnType<typeof setTimeout>;
  #theme: ThemeTokens;
  #ignored = 0;
  #settle!: Settle;

  constructor(options: BootstrapOptions) {
    const { iframe, extensionId, legacy = false } = options;
    this.#options = options;
    this.#document = iframe.ownerDocument;
    const view = this.#document.defaultView;
    if (view === null) throw refused('the iframe must belong to a document that is shown');
    const page = new URL(this.#document.baseURI);
    const url = checkedSrc(sourceOf(options), page.href, options.allowedOrigin);
    const apiBase = new URL(options.apiBase ?? '/', page);
    this.#theme = checkedTheme(options.themeTokens);
    confine(iframe, url, page.origin, options.title ?? 'Extension');
    this.#sessions = new SessionKeeper(
      options.session,
      options.renewSession ?? fromBootstrapEndpoint(apiBase, extensionId),
      (session) => this.#handover.send(envelope('session', session)),
      (error) => this.#report(error),
    );
    this.#proxy = new ApiProxy(extensionId, apiBase, this.#sessions);
    this.ready = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.ready.catch(() => undefined); // `onError` says it too; nobody has to wait for this promise
    this.#handover = new Handover(
      iframe,
      view,
      {
        connected: () => this.#connected(),
        message: (received) => this.#message(received),
        ignored: () => void (this.#ignored += 1),
        lost: () => this.#fail(new HostError('frame_lost', 'the frame shows another document; open it again')),
      },
      legacy ? legacyTarget(iframe, url) : undefined,
    );
    this.#silence = setTimeout(
      () => this.#fail(new HostError('frame_silent', `the page inside did not say that it is ready within ${READY_MAX_MS} ms`)),
      READY_MAX_MS,
    );
    this.#document.addEventListener('visibilitychange', this.#onVisibility);
    this.#handover.open(url);
    if (options.warnWithoutFrameSrc ?? true) void warnWithoutFramePolicy(this.#document, url.origin);
  }

  get ignoredCount(): number {
    return this.#ignored;
  }

  setTheme(tokens: ThemeTokens): void {
    this.#theme = checkedTheme(tokens);
    this.#handover.send(envelope('theme_tokens', this.#theme));
  }

  dispose(): void {
    this.#end();
    this.#settle.reject(new HostError('frame_lost', 'the frame was disposed of'));
  }

  #connected(): void {
    clearTimeout(this.#silence);
    const payload = {
      session: this.#sessions.known,
      theme_tokens: this.#theme,
      navigation: { path: this.#options.initialPath ?? '/' },
    };
    this.#handover.send(envelope('bootstrap', payload, this.#options.requestId));
    this.#onVisibility();
    this.#settle.resolve();
  }

  #message(received: Envelope): void {
    const message = parseMessage(received);
    if (typeof message !== 'string') {
      this.#act(message);
      return;
    }
    this.#ignored += 1;
    if (message === 'invalid' && received.type === 'apiproxy' && received.request_id !== undefined) {
      fail(this.#handover.send, received.request_id, 'invalid_request', 'method, headers or body are not valid');
    }
  }

  #act(message: ClientMessage): void {
    const { iframe, onNavigate, onResize, onToast } = this.#options;
    switch (message.type) {
      case 'apiproxy':
        void this.#proxy.call(message.requestId, message.request, this.#handover.send);
        break;
      case 'apiproxy_cancel':
        this.#proxy.cancel(message.requestId);
        break;
      case 'resize':
        if (onResize) onResize(message.height);
        else iframe.style.height = `${message.height}px`;
        break;
      case 'navigate':
        onNavigate?.(message.path);
        break;
      case 'toast':
        onToast?.(message.level, message.text);
        break;
      case 'error':
        this.#report(new HostError('extension_error', message.message));
        break;
      case 'ready':
        this.#ignored += 1; // it has its port
    }
  }

  readonly #onVisibility = (): void => {
    this.#handover.send(envelope('visibility', { visible: this.#document.visibilityState === 'visible' }));
  };

  #fail(error: HostError): void {
    this.#end();
    this.#settle.reject(error);
    this.#report(error);
  }

  #end(): void {
    clearTimeout(this.#silence);
    this.#document.removeEventListener('visibilitychange', this.#onVisibility);
    this.#handover.close();
    this.#sessions.close();
    this.#proxy.cancelAll();
  }

  #report(error: HostError): void {
    this.#options.onError?.(error);
  }
}

function sourceOf(options: BootstrapOptions): string {
  const { extensionId, contentHash, initialPath = '/', publicBase, allowedOrigin, tenantId } = options;
  if (!isPath(initialPath)) throw refused('initialPath must begin with one slash');
  const base = publicBase ?? allowedOrigin;
  const built = buildExtUiSrc(extensionId, contentHash, initialPath, {
    ...(base === undefined ? {} : { publicBaseOverride: base }),
    ...(tenantId === undefined ? {} : { tenantId }),
  });
  return options.src ?? built;
}

function checkedTheme(tokens: ThemeTokens): ThemeTokens {
  if (!isThemeTokens(tokens)) throw refused('themeTokens must map names like --alga-bg to texts');
  return { ...tokens };
}
