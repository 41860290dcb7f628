// The way to the host page: a port, asked for with the nonce that stands in this page's own address.

import { type Envelope, envelope, isEnvelope } from '../../protocol/envelope.js';
import { BridgeError } from './errors.js';

const NONCE = /^#alga_nonce=([0-9a-f]{32})$/;
const CONNECT_MAX_MS = 15_000; // the host is a page that is there already

export class Channel {
  readonly #view: Window;
  readonly #receive: (message: Envelope) => void;
  #port: MessagePort | undefined;
  #opening: Promise<void> | undefined;

  constructor(view: Window, receive: (message: Envelope) => void) {
    this.#view = view;
    this.#receive = receive;
  }

  /** Says `ready` and waits for the port; once, however often it is called. */
  open(): Promise<void> {
    this.#opening ??= this.#connect();
    return this.#opening;
  }

  send(type: string, payload: object, requestId?: string, transfer: Transferable[] = []): void {
    if (this.#port === undefined) throw new BridgeError('no_host', 'call ready() first');
    this.#port.postMessage(envelope(type, payload, requestId), transfer);
  }

  close(): void {
    this.#port?.close();
    this.#port = undefined;
  }

  #connect(): Promise<void> {
    const view = this.#view;
    const nonce = takeNonce(view);
    if (nonce === undefined || view.parent === view) {
      return Promise.reject(new BridgeError('no_host', 'this page was not opened by a host that speaks with it'));
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => done(new BridgeError('no_host', 'the host page did not answer')), CONNECT_MAX_MS);
      const listen = (event: MessageEvent): void => {
        const [port] = event.ports;
        if (event.source !== view.parent || !isEnvelope(event.data) || event.data.type !== 'port' || !port) return;
        this.#port = port;
        port.onmessage = ({ data }) => {
          if (isEnvelope(data)) this.#receive(data);
        };
        done();
      };
      const done = (error?: BridgeError): void => {
        clearTimeout(timer);
        view.removeEventListener('message', listen);
        if (error) reject(error);
        else resolve();
      };
      view.addEventListener('message', listen);
      view.parent.postMessage(envelope('ready', { nonce }), '*'); // whoever frames us; it knows the nonce or nothing
    });
  }
}

/** The nonce, taken out of the address so that a page's own routing by fragment does not meet it. */
function takeNonce(view: Window): string | undefined {
  const nonce = NONCE.exec(view.location.hash)?.[1];
  if (nonce !== undefined) {
    try {
      view.history.replaceState(view.history.state, '', view.location.pathname + view.location.search);
    } catch {
      // some browsers let an opaque origin change nothing of its address: the nonce is used up anyway
    }
  }
  return nonce;
}
