// Whether the page around an extension limits where its frame can go.
//
// A sandboxed document may still navigate its own frame. What keeps it from showing a stranger's page inside the host's
// chrome is the host page's own `frame-src`; without one the bridge still gives nothing away, but the user sees it.

const LIMITS_FRAMES = /(?:^|[;,\s])(?:frame-src|child-src|default-src)\s/i;

/** Says so on the console when the page sends no policy for frames. Never fails: it is advice. */
export async function warnWithoutFramePolicy(document: Document, assetOrigin: string): Promise<void> {
  const metas = document.querySelectorAll<HTMLMetaElement>('meta[http-equiv="Content-Security-Policy" i]');
  if (Array.from(metas).some((meta) => LIMITS_FRAMES.test(meta.content))) return;
  try {
    const page = document.location.href.split('#', 1)[0] ?? '';
    const answer = await fetch(page, { method: 'HEAD', cache: 'force-cache', signal: AbortSignal.timeout(10_000) });
    if (LIMITS_FRAMES.test(answer.headers.get('content-security-policy') ?? '')) return;
  } catch {
    return; // offline, or a page that is not served over HTTP: nothing can be said about it
  }
  console.warn(
    `@alga/extension-host: this page sends no frame-src; add "frame-src ${assetOrigin}" to its Content-Security-Policy, ` +
      'so that an extension cannot navigate its frame elsewhere',
  );
}
