// Where a call of an extension's page goes: below `/api/ext/{its own id}/`, whatever the page writes.
//
// URL parsers repair: they drop line breaks, turn backslashes into slashes, resolve `..` also when its dots are encoded.
// So a route that any of this could touch is refused first, and what the parser made is looked at afterwards.

const SCHEME = /^[a-z][a-z0-9+.-]*:/i;
const UNSAFE = /[\\#\u0000-\u0020\u007f]/;
const ENCODED_SEPARATOR = /%(?:2e|2f|5c|00)/i;

/**
 * The address of `route`, or `undefined` when it would not stay below the extension's own path.
 *
 * @param route as the page inside wrote it: a path, with or without a leading slash, perhaps with a query.
 * @param apiBase where the gateway's `/api` stands.
 */
export function resolveRoute(route: string, extensionId: string, apiBase: URL): URL | undefined {
  if (SCHEME.test(route) || UNSAFE.test(route)) return undefined;
  const [path = ''] = route.split('?', 1);
  if (ENCODED_SEPARATOR.test(path) || path.includes('//')) return undefined;
  if (path.split('/').some((segment) => segment === '.' || segment === '..')) return undefined;
  const root = extensionRoot(extensionId, apiBase);
  let url: URL;
  try {
    url = new URL(`./${route.replace(/^\//, '')}`, root);
  } catch {
    return undefined;
  }
  const below = url.origin === root.origin && url.pathname.startsWith(root.pathname);
  return below && !url.username && !url.password && !url.hash ? url : undefined;
}

/** `{apiBase}/api/ext/{extensionId}/`. */
export function extensionRoot(extensionId: string, apiBase: URL): URL {
  return new URL(`${apiBase.pathname.replace(/\/+$/, '')}/api/ext/${encodeURIComponent(extensionId)}/`, apiBase.origin);
}
