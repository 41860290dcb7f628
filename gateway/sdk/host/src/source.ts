// The address of an extension's page, and what must be true of an iframe before it may show one.

import { HostError, refused } from './errors.js';

const CONTENT_HASH = /^sha256:[0-9a-f]{64}$/;
const INITIAL_PATH = '/';

export interface SrcOptions {
  /** Named in the address for pages that show it; the tenant that counts is the session's. */
  tenantId?: string;
  /** `RUNNER_PUBLIC_BASE`; a relative `/ext-ui/…`, which the gateway's gate answers, when left out. */
  publicBaseOverride?: string;
}

/**
 * The `src` of an extension's iframe: `{base}/ext-ui/{id}/{hash}/index.html?path=…[&tenant=…]&extensionId=…`.
 *
 * @throws HostError when the hash is not `sha256:` and 64 lower-case hex digits.
 */
export function buildExtUiSrc(
  extensionId: string,
  contentHash: string,
  path: string = INITIAL_PATH,
  options: SrcOptions = {},
): string {
  if (!extensionId || extensionId === '.' || extensionId === '..') throw refused('extensionId must name an extension');
  if (!CONTENT_HASH.test(contentHash)) throw refused('contentHash must be sha256:<64 hex digits>');
  const base = (options.publicBaseOverride ?? '').replace(/\/+$/, '');
  const query = [
    `path=${encodeURIComponent(path)}`,
    ...(options.tenantId === undefined ? [] : [`tenant=${encodeURIComponent(options.tenantId)}`]),
    `extensionId=${encodeURIComponent(extensionId)}`,
  ];
  const [id, hash] = [encodeURIComponent(extensionId), encodeURIComponent(contentHash)];
  return `${base}/ext-ui/${id}/${hash}/index.html?${query.join('&')}`;
}

/**
 * The absolute address, once it is known to be one the host page agreed to show.
 *
 * @throws HostError when `src` leads to another origin than the page's and `allowedOrigin` does not name that origin.
 */
export function checkedSrc(src: string, pageUrl: string, allowedOrigin: string | undefined): URL {
  const url = parsed(src, pageUrl, 'src');
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refused(`src must be http or https, not ${url.protocol}`);
  if (url.username || url.password) throw refused('src must not carry credentials');
  const allowed = allowedOrigin === undefined ? undefined : parsed(allowedOrigin, pageUrl, 'allowedOrigin').origin;
  if (isAbsolute(src) && allowed === undefined) throw refused('allowedOrigin is required when src is absolute');
  if (allowed !== undefined && allowed !== url.origin) {
    throw refused(`src is at ${url.origin}, but allowedOrigin is ${allowed}`);
  }
  return url;
}

/**
 * Gives the iframe its attributes: sandboxed unless the page decided how, no referrer, no features, a title.
 *
 * @throws HostError when `allow-same-origin` would give the extension the host page's own origin.
 */
export function confine(iframe: HTMLIFrameElement, url: URL, pageOrigin: string, title: string): void {
  if (!iframe.hasAttribute('sandbox')) iframe.setAttribute('sandbox', 'allow-scripts');
  if (sandboxTokens(iframe).has('allow-same-origin') && url.origin === pageOrigin) {
    throw refused('sandbox must not have allow-same-origin: the extension would get the origin of this page');
  }
  iframe.setAttribute('allow', '');
  iframe.setAttribute('referrerpolicy', 'no-referrer');
  if (!iframe.hasAttribute('loading')) iframe.setAttribute('loading', 'eager');
  if (!iframe.title) iframe.title = title;
}

export function sandboxTokens(iframe: HTMLIFrameElement): Set<string> {
  return new Set((iframe.getAttribute('sandbox') ?? '').toLowerCase().split(/\s+/));
}

function isAbsolute(src: string): boolean {
  return /^(?:[a-z][a-z0-9+.-]*:|[\\/]{2})/i.test(src.trim());
}

function parsed(text: string, base: string, name: string): URL {
  try {
    return new URL(text, base);
  } catch {
    throw new HostError('invalid_option', `${name} is not a URL`);
  }
}
