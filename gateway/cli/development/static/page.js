// The page around an extension that is being written: opens it anew whenever `alga-ext dev` says that something changed.

import { bootstrapIframe } from './host.js';

const state = document.getElementById('state');
const problem = document.getElementById('problem');
const place = document.getElementById('place');
const title = document.body.dataset.title;
const dark = matchMedia('(prefers-color-scheme: dark)');

let bridge;
let path = '/';
let opening = 0;

const changes = new EventSource('changes');
changes.addEventListener('reload', open);
changes.addEventListener('state', (event) => tell(JSON.parse(event.data)));
changes.addEventListener('error', () => tell({ state: 'alga-ext dev has ended, or cannot be reached', problem: '' }));

async function open() {
  // Loaded before anything was installed: the page's policy names no origin to frame yet, and only a new load changes it.
  if (document.body.dataset.frames === '') return location.reload();
  const turn = ++opening;
  try {
    const answer = await (await fetch('bootstrap', { cache: 'no-store' })).json();
    if (turn !== opening) return; // a newer change came meanwhile
    if (answer.detail) throw new Error(answer.detail);
    const frame = document.createElement('iframe');
    frame.setAttribute('sandbox', 'allow-scripts allow-forms');
    bridge?.dispose();
    place.replaceChildren(frame);
    bridge = bootstrapIframe({
      ...answer,
      iframe: frame,
      initialPath: path,
      src: undefined,
      apiBase: new URL('.', location.href).pathname,
      title,
      themeTokens: dark.matches ? answer.darkThemeTokens : answer.themeTokens,
      renewSession: async () => (await (await fetch('bootstrap', { cache: 'no-store' })).json()).session,
      onNavigate: (view) => (path = view),
      onToast: (level, text) => tell({ state: `${level}: ${text}` }),
      onError: (error) => tell({ problem: `${error.code}: ${error.message}` }),
    });
    await bridge.ready;
  } catch (error) {
    if (turn === opening && error.code !== 'frame_lost') tell({ problem: error.message });
  }
}

function tell(said) {
  if (said.state !== undefined) state.textContent = said.state;
  if (said.problem === undefined) return;
  problem.textContent = said.problem;
  problem.hidden = said.problem === '';
}
