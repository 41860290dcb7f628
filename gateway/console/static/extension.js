// Opens an extension in this page's frame and serves it: session, theme, messages, the address bar.

import { bootstrapIframe } from './extension-host.js';

const TOAST_MS = 6000; // long enough to read two lines
const TOASTS_MAX_COUNT = 4;
const PLACES = { frame: 'frame', state: 'state', problem: 'problem', toasts: 'toasts', root: 'extension' };

const here = Object.fromEntries(Object.entries(PLACES).map(([name, id]) => [name, document.getElementById(id)]));
const dark = matchMedia('(prefers-color-scheme: dark)');

await open();

async function open() {
  try {
    const answer = await bootstrap(here.root.dataset.bootstrap);
    const themeFor = () => (dark.matches ? answer.darkThemeTokens : answer.themeTokens);
    here.frame.hidden = false;
    const bridge = bootstrapIframe({
      iframe: here.frame,
      extensionId: answer.extensionId,
      contentHash: answer.contentHash,
      src: answer.src,
      allowedOrigin: answer.allowedOrigin,
      initialPath: answer.initialPath,
      session: answer.session,
      themeTokens: themeFor(),
      title: here.root.dataset.title,
      renewSession: async () => (await bootstrap(here.root.dataset.bootstrap)).session,
      onNavigate: showPath,
      onToast: toast,
      onError: complain,
    });
    dark.addEventListener('change', () => bridge.setTheme(themeFor()));
    await bridge.ready;
    here.state.hidden = true;
  } catch (error) {
    complain(error);
  }
}

async function bootstrap(url) {
  const answer = await fetch(url, { cache: 'no-store' });
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401) throw new Error('Your sign-in has ended: load this page again.');
  throw new Error(problem.detail ?? `The gateway answered ${answer.status}.`);
}

// The view inside the extension becomes part of this page's address, so that it can be linked to and found again.
function showPath(path) {
  const query = path === '/' ? '' : `?path=${encodeURIComponent(path)}`;
  history.replaceState(null, '', location.pathname + query);
}

function complain(error) {
  if (error.code === 'extension_error') {
    console.warn('the extension reported:', error.message);
    return;
  }
  here.state.hidden = true;
  here.problem.hidden = false;
  here.problem.textContent = `${error.message[0].toUpperCase()}${error.message.slice(1)}`;
}

function toast(level, text) {
  const note = document.createElement('p');
  note.className = `note ${{ error: 'danger', warning: 'warning', success: 'success' }[level] ?? ''}`;
  note.textContent = text;
  here.toasts.append(note);
  while (here.toasts.childElementCount > TOASTS_MAX_COUNT) here.toasts.firstElementChild.remove();
  setTimeout(() => note.remove(), TOAST_MS);
}
