// A host page and a frame inside it, as far as the bridge touches them: windows that post messages to each other, and an
// element with attributes and a `src` that loads. MessageChannel, AbortSignal and Response are Node's own.

export const PAGE = 'https://app.example.com';
export const ASSETS = 'https://ui.example.com';
export const EXTENSION = '11111111-2222-4333-8444-555555555555';
export const HASH = `sha256:${'ab'.repeat(32)}`;
export const TOKENS = { '--alga-bg': '#ffffff', '--alga-fg': '#111111' };

class Sent extends Event {
  constructor(data, source, ports) {
    super('message');
    Object.assign(this, { data, source, ports, origin: 'null' });
  }
}

/** A window. What is posted to it arrives at once, from `sender`. */
export class Page extends EventTarget {
  constructor(href = `${PAGE}/extensions`) {
    super();
    this.location = new URL(href);
    this.parent = this;
    this.sender = null;
    this.history = {
      state: null,
      replaceState: (_state, _title, path) => (this.location = new URL(path, this.location)),
    };
    this.document = Object.assign(new EventTarget(), {
      baseURI: href,
      location: this.location,
      visibilityState: 'visible',
      defaultView: this,
      querySelectorAll: () => [],
      documentElement: { style: new Styles() },
    });
  }

  postMessage(data, target, transfer = []) {
    this.posted = { data, target };
    const moved = structuredClone({ data, transfer }, { transfer });
    this.dispatchEvent(new Sent(moved.data, this.sender, moved.transfer));
  }
}

class Styles extends Map {
  setProperty(name, value) {
    this.set(name, value);
  }
}

/** An iframe of `host`; `loads` happen when the test says so. */
export class Frame extends EventTarget {
  constructor(host, attributes = {}) {
    super();
    this.ownerDocument = host.document;
    this.attributes = new Map(Object.entries(attributes));
    this.style = {};
    this.title = '';
    this.contentWindow = new Page('about:blank');
    this.contentWindow.parent = host;
    this.contentWindow.sender = host;
    host.sender = this.contentWindow;
  }

  get src() {
    return this.attributes.get('src') ?? '';
  }

  set src(address) {
    this.attributes.set('src', address);
    this.contentWindow.location = new URL(address);
  }

  hasAttribute(name) {
    return this.attributes.has(name);
  }

  getAttribute(name) {
    return this.attributes.get(name) ?? null;
  }

  setAttribute(name, value) {
    this.attributes.set(name, value);
  }

  removeAttribute(name) {
    this.attributes.delete(name);
  }

  loaded() {
    this.dispatchEvent(new Event('load'));
  }

  get nonce() {
    return /#alga_nonce=([0-9a-f]*)$/.exec(this.src)?.[1];
  }
}

export function message(type, payload = {}, requestId = undefined) {
  return { alga: true, version: '1', type, payload, ...(requestId && { request_id: requestId }) };
}

/** What a careful page inside does: says `ready`, keeps the port, collects what comes. */
export function connect(host, frame, said = { nonce: frame.nonce }) {
  const inbox = new Inbox();
  const listen = (event) => {
    if (event.ports[0]) inbox.attach(event.ports[0]);
  };
  frame.contentWindow.addEventListener('message', listen);
  host.postMessage(message('ready', said), '*');
  frame.contentWindow.removeEventListener('message', listen);
  return inbox;
}

export class Inbox {
  #waiting = [];
  #messages = [];
  closed = false;

  attach(port) {
    this.port = port;
    port.onmessage = ({ data }) => {
      const index = this.#waiting.findIndex(({ type }) => type === data.type);
      if (index < 0) this.#messages.push(data);
      else this.#waiting.splice(index, 1)[0].resolve(data);
    };
    port.on?.('close', () => (this.closed = true));
  }

  /** The next message of a type. */
  next(type) {
    const index = this.#messages.findIndex((one) => one.type === type);
    if (index >= 0) return Promise.resolve(this.#messages.splice(index, 1)[0]);
    return new Promise((resolve) => this.#waiting.push({ type, resolve }));
  }

  has(type) {
    return this.#messages.some((one) => one.type === type);
  }
}
