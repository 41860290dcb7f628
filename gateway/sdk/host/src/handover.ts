// The hand-over: how a host page comes to speak with the document it opened, and with no other.
//
// A sandboxed frame's origin is the text `null` and its window outlives its documents, so neither `event.origin` nor
// `event.source` says who is speaking. What the host opened is known by a nonce in the fragment of its address, which no
// other document can see. The first `ready` that names it gets one end of a MessageChannel; the port belongs to that
// document and dies with it. The nonce is used up then; whatever the frame shows later gets nothing.
//
// The port is posted with target `*`, because nothing else reaches an opaque origin; the message carries no secret.

import { type Envelope, envelope, isEnvelope } from '../../protocol/envelope.js';
import type { Send } from './apiproxy.js';
import { NONCE_BYTES } from './limits.js';
import { parseMessage } from './messages.js';
import { sandboxTokens } from './source.js';

export interface HandoverEvents {
  /** The document that was opened is there. */
  connected(): void;
  /** A message of that document, an envelope at least. */
  message(received: Envelope): void;
  /** Something arrived that is nothing we know. */
  ignored(): void;
  /** The frame shows another document now. */
  lost(): void;
}

type State = 'blanking' | 'waiting' | 'connected' | 'over';

const BLANK = 'about:blank';

export class Handover {
  readonly #frame: HTMLIFrameElement;
  readonly #view: Window;
  readonly #events: HandoverEvents;
  readonly #legacyTarget: string | undefined;
  readonly #nonce = randomNonce();
  #state: State = 'waiting';
  #url = '';
  #loads = 0;
  #port: MessagePort | undefined;

  /** @param legacyTarget where plain window messages go, for pages that know nothing of ports; none are sent without it. */
  constructor(frame: HTMLIFrameElement, view: Window, events: HandoverEvents, legacyTarget?: string) {
    this.#frame = frame;
    this.#view = view;
    this.#events = events;
    this.#legacyTarget = legacyTarget;
  }

  /** Opens `url` in the frame. A document that is there goes away first: the same address again would not be loaded. */
  open(url: URL): void {
    this.#url = `${url.href.split('#', 1)[0]}#alga_nonce=${this.#nonce}`;
    this.#frame.addEventListener('load', this.#onLoad);
    this.#view.addEventListener('message', this.#onWindowMessage);
    const shown = this.#frame.getAttribute('src') ?? '';
    this.#frame.removeAttribute('srcdoc');
    if (shown !== '' && shown !== BLANK && this.#frame.contentWindow !== null) {
      this.#state = 'blanking';
      this.#frame.src = BLANK;
    } else {
      this.#frame.src = this.#url;
    }
  }

  /** Sends to the document that was opened; nothing is sent before it said `ready`, nor after it has gone. */
  readonly send: Send = (message, transfer = []) => {
    if (this.#state !== 'connected') return;
    if (this.#port !== undefined) this.#port.postMessage(message, transfer);
    else this.#frame.contentWindow?.postMessage(message, this.#legacyTarget ?? '*', transfer);
  };

  close(): void {
    this.#state = 'over';
    this.#port?.close();
    this.#frame.removeEventListener('load', this.#onLoad);
    this.#view.removeEventListener('message', this.#onWindowMessage);
  }

  // A document may say `ready` before its load event or after it. Only one load is that of the document we opened.
  readonly #onLoad = (): void => {
    if (this.#state === 'blanking') {
      this.#state = 'waiting';
      this.#frame.src = this.#url;
      return;
    }
    this.#loads += 1;
    if (this.#loads > 1) {
      this.close();
      this.#events.lost();
    }
  };

  readonly #onWindowMessage = (event: MessageEvent): void => {
    if (event.source === null || event.source !== this.#frame.contentWindow) return;
    if (!isEnvelope(event.data)) return this.#events.ignored();
    if (this.#state === 'connected' && this.#port === undefined) return this.#events.message(event.data);
    const message = parseMessage(event.data);
    if (this.#state !== 'waiting' || typeof message === 'string' || message.type !== 'ready') return this.#events.ignored();
    if (this.#legacyTarget !== undefined && message.nonce === undefined) {
      this.#state = 'connected';
      this.#events.connected();
    } else if (message.nonce === this.#nonce) {
      this.#givePort(event.source as Window);
    } else {
      this.#events.ignored();
    }
  };

  #givePort(target: Window): void {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => (isEnvelope(data) ? this.#events.message(data) : this.#events.ignored());
    this.#port = port1;
    this.#state = 'connected';
    target.postMessage(envelope('port'), '*', [port2]);
    this.#events.connected();
  }
}

/** Where plain messages to a frame can go: `*` is the only target that reaches an opaque origin. */
export function legacyTarget(frame: HTMLIFrameElement, url: URL): string {
  const opaque = frame.hasAttribute('sandbox') && !sandboxTokens(frame).has('allow-same-origin');
  return opaque ? '*' : url.origin;
}

function randomNonce(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
