import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootstrapIframe, buildExtUiSrc } from '../../../gateway/sdk/host/dist/index.js';
import { ASSETS, EXTENSION, Frame, HASH, PAGE, Page, TOKENS } from './pages.mjs';

const session = () => ({ token: 't', expiresAt: Date.now() + 600_000 });
const open = (frame, more = {}) =>
  bootstrapIframe({
    iframe: frame,
    extensionId: EXTENSION,
    contentHash: HASH,
    initialPath: '/',
    session: session(),
    themeTokens: TOKENS,
    allowedOrigin: ASSETS,
    warnWithoutFrameSrc: false,
    ...more,
  });
const refused = (says) => ({ name: 'HostError', code: 'invalid_option', message: says });

test('the address is the one the gateway builds, byte for byte', () => {
  assert.equal(
    buildExtUiSrc(EXTENSION, HASH, "/a b/ü?x='1'&y=*", { publicBaseOverride: `${ASSETS}/`, tenantId: 'acme & co' }),
    `${ASSETS}/ext-ui/${EXTENSION}/sha256%3A${'ab'.repeat(32)}/index.html` +
      `?path=%2Fa%20b%2F%C3%BC%3Fx%3D'1'%26y%3D*&tenant=acme%20%26%20co&extensionId=${EXTENSION}`,
  );
});

test('without a base the address is relative, for the gate of the gateway', () => {
  assert.ok(buildExtUiSrc(EXTENSION, HASH, '/').startsWith(`/ext-ui/${EXTENSION}/sha256%3A`));
});

for (const wrong of ['', 'sha256:', HASH.toUpperCase(), `${HASH}0`, HASH.slice(0, -1), `md5:${'ab'.repeat(16)}`, `${HASH}/..`]) {
  test(`the text ${JSON.stringify(wrong)} is no content hash`, () => {
    assert.throws(() => buildExtUiSrc(EXTENSION, wrong, '/'), refused(/sha256/));
  });
}

test('an extension whose id would climb is refused', () => {
  for (const id of ['', '.', '..']) assert.throws(() => buildExtUiSrc(id, HASH, '/'), refused(/extensionId/));
  assert.match(buildExtUiSrc('a/../b', HASH, '/'), /\/ext-ui\/a%2F\.\.%2Fb\//);
});

test('the frame is sandboxed, asks for no feature, sends no referrer and has a title', () => {
  const frame = new Frame(new Page());
  open(frame, { title: 'Notes' }).dispose();
  assert.deepEqual(
    ['sandbox', 'allow', 'referrerpolicy', 'loading'].map((name) => frame.getAttribute(name)),
    ['allow-scripts', '', 'no-referrer', 'eager'],
  );
  assert.equal(frame.title, 'Notes');
});

test('a sandbox that the page decided on stays', () => {
  const frame = new Frame(new Page(), { sandbox: 'allow-scripts allow-forms' });
  open(frame).dispose();
  assert.equal(frame.getAttribute('sandbox'), 'allow-scripts allow-forms');
});

test('an extension never gets the origin of the page around it', () => {
  const page = new Page();
  const own = { allowedOrigin: PAGE, publicBase: PAGE };
  assert.throws(() => open(new Frame(page, { sandbox: 'allow-scripts Allow-Same-Origin' }), own), refused(/allow-same-origin/));
  open(new Frame(page, { sandbox: 'allow-scripts' }), own).dispose();
  open(new Frame(page, { sandbox: 'allow-scripts allow-same-origin' })).dispose(); // a host of its own per install
});

test('an absolute address needs the origin that was agreed on', () => {
  const src = `${ASSETS}/ext-ui/${EXTENSION}/${HASH}/index.html`;
  open(new Frame(new Page()), { src, allowedOrigin: `${ASSETS}/some/path` }).dispose();
  for (const allowedOrigin of ['https://ui.example.com:444', 'http://ui.example.com', 'https://ui.example.com.evil.test']) {
    assert.throws(() => open(new Frame(new Page()), { src, allowedOrigin }), refused(/allowedOrigin/));
  }
  assert.throws(() => open(new Frame(new Page()), { src, allowedOrigin: undefined }), refused(/required/));
  assert.throws(() => open(new Frame(new Page()), { src: '//evil.test/x', allowedOrigin: undefined }), refused(/required/));
  assert.throws(() => open(new Frame(new Page()), { src: '\\\\evil.test/x', allowedOrigin: undefined }), refused(/required/));
});

test('an address that is not of the web is refused', () => {
  for (const src of ['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'blob:https://ui.example.com/x']) {
    assert.throws(() => open(new Frame(new Page()), { src }), refused(/./));
  }
  assert.throws(() => open(new Frame(new Page()), { src: `${ASSETS.replace('://', '://u:p@')}/x` }), refused(/credentials/));
});

test('a path, a theme or a session that is not one is refused', () => {
  for (const initialPath of ['', 'x', '//evil.test', '/a\\b', '/a\nb']) {
    assert.throws(() => open(new Frame(new Page()), { initialPath }), refused(/initialPath/));
  }
  for (const themeTokens of [{ color: 'red' }, { '--alga-bg': 1 }, null, { '--alga-bg': 'x'.repeat(513) }]) {
    assert.throws(() => open(new Frame(new Page()), { themeTokens }), refused(/themeTokens/));
  }
  for (const wrong of [{}, { token: '', expiresAt: 1 }, { token: 't' }, { token: 't', expiresAt: 'tomorrow' }]) {
    assert.throws(() => open(new Frame(new Page()), { session: wrong }), refused(/session/));
  }
});

test('a page without frame-src is warned, one with it is not', async (t) => {
  const warned = t.mock.method(console, 'warn', () => undefined);
  const answers = ["default-src 'self'", "frame-src 'self'; script-src x", "script-src 'self'", null];
  const asked = t.mock.method(globalThis, 'fetch', async () => {
    const policy = answers[asked.mock.callCount()];
    return new Response(null, { headers: policy === null ? {} : { 'content-security-policy': policy } });
  });
  for (const expected of [0, 0, 1, 2]) {
    open(new Frame(new Page()), { warnWithoutFrameSrc: true }).dispose();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(warned.mock.callCount(), expected);
  }
  assert.match(warned.mock.calls[0].arguments[0], /frame-src https:\/\/ui\.example\.com/);
});
