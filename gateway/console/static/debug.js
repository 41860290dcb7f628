// The live log: follows the debug stream, filters what is shown, loses nothing while paused.

const SHOWN_MAX_COUNT = 2000; // as many as the stream itself keeps
const HELD_MAX_COUNT = 10_000; // while paused; then the oldest go, and the gap is said
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'];
const STATES = {
  connecting: ['Connecting…', ''],
  live: ['Live', 'success'],
  paused: ['Paused', 'warning'],
  degraded: ['Waiting', 'warning'],
  restarting: ['Reconnecting…', 'warning'],
  reconnect: ['Reconnecting…', 'warning'],
  expired: ['Ended', 'danger'],
  closed: ['Ended', 'danger'],
};
const WARNINGS = {
  degraded: 'The stream cannot be read right now. Events are kept by the runners for a while and appear when it is back.',
  expired: 'Your sign-in has ended. Load this page again to go on.',
  closed: 'The stream was closed: you may not watch it any more. Load this page again to see why.',
};
const REASONS = {
  dropped: 'dropped: a runner had more to say than it could write',
  lost: 'lost on the way',
  trimmed: 'older than what the stream keeps',
  unfinished: 'an execution ended without a word',
  runner_restarted: 'a runner ended in the middle',
  unreadable: 'not readable',
  held: 'dropped while this page was paused',
};

const part = (id) => document.getElementById(id);
const [root, list, state, warnings] = ['console', 'events', 'state', 'warnings'].map(part);
const filters = { level: part('level'), stream: part('stream'), text: part('text') };
const log = list.parentElement;

let entries = [];
let held = [];
let heldDropped = 0;
let paused = false;
let streamState = 'connecting';
let source;

follow();
filters.level.addEventListener('change', render);
filters.stream.addEventListener('change', render);
filters.text.addEventListener('input', render);
part('filters').addEventListener('submit', (event) => event.preventDefault());
part('pause').addEventListener('click', togglePause);
part('clear').addEventListener('click', clear);
part('copy').addEventListener('click', copy);

function follow() {
  source = new EventSource(root.dataset.stream);
  source.addEventListener('log', ({ data }) => take({ kind: 'log', ...JSON.parse(data) }));
  source.addEventListener('gap', ({ data }) => take({ kind: 'gap', ...JSON.parse(data) }));
  source.addEventListener('status', ({ data }) => become(JSON.parse(data).state));
  source.addEventListener('error', () => {
    if (streamState === 'expired' || streamState === 'closed') return;
    become(source.readyState === EventSource.CLOSED ? 'closed' : 'reconnect');
  });
}

function become(next) {
  streamState = next;
  if (next === 'expired' || next === 'closed') source.close(); // coming again would be refused again
  showState();
}

function showState() {
  const healthy = streamState === 'live' || streamState === 'connecting';
  const [text, kind] = STATES[paused && healthy ? 'paused' : streamState] ?? [streamState, ''];
  state.textContent = text;
  state.className = `badge ${kind}`;
  const warning = WARNINGS[streamState];
  warnings.replaceChildren(...(warning ? [element('p', 'note warning', warning)] : []));
}

function take(entry) {
  if (paused) {
    held.push(entry);
    if (held.length > HELD_MAX_COUNT) {
      held.shift();
      heldDropped += 1;
    }
    showCount();
    return;
  }
  add([entry]);
}

function add(found) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  entries.push(...found);
  list.append(...found.filter(wanted).map(row));
  for (const old of entries.splice(0, Math.max(0, entries.length - SHOWN_MAX_COUNT))) {
    if (wanted(old)) list.firstElementChild.remove();
  }
  if (atEnd) log.scrollTop = log.scrollHeight;
  showCount();
}

function render() {
  list.replaceChildren(...entries.filter(wanted).map(row));
  log.scrollTop = log.scrollHeight;
  showCount();
}

// What is missing is said whatever the filters are: it might have been what was looked for.
function wanted(entry) {
  if (entry.kind === 'gap') return true;
  const text = filters.text.value.trim().toLowerCase();
  return (
    LEVELS.indexOf(entry.level) >= LEVELS.indexOf(filters.level.value) &&
    (!filters.stream.value || entry.stream === filters.stream.value) &&
    (!text || entry.message.toLowerCase().includes(text) || entry.requestId.toLowerCase().includes(text))
  );
}

function row(entry) {
  if (entry.kind === 'gap') {
    const count = entry.count ? `${entry.count} missing here` : 'Something is missing here';
    return element('li', 'gap', `⚠ ${count}: ${REASONS[entry.reason] ?? entry.reason}`);
  }
  const made = element('li', entry.level);
  const when = new Date(entry.ts);
  const time = element('time', '', `${when.toTimeString().slice(0, 8)}.${String(when.getMilliseconds()).padStart(3, '0')}`);
  time.dateTime = when.toISOString();
  const short = entry.requestId.slice(-8);
  const request = element('button', 'request', short);
  request.type = 'button';
  request.title = `Show only request ${entry.requestId}`;
  request.setAttribute('aria-label', `Show only request ${short}`);
  request.addEventListener('click', () => {
    filters.text.value = entry.requestId;
    render();
  });
  const data = Object.entries(entry.data ?? {}).map(([name, value]) => `${name}=${value}`);
  const said = element('span', 'said', entry.message + (entry.truncated ? ' … (cut)' : ''));
  if (data.length) said.append(element('span', 'data', `  ${data.join(' ')}`));
  made.append(time, element('span', 'level', entry.level), element('span', 'of', entry.stream), request, said);
  return made;
}

function showCount() {
  const shown = list.childElementCount;
  const waiting = held.length ? ` · ${held.length} waiting` : '';
  part('count').textContent = `${shown} of ${entries.length} events shown${waiting}`;
  part('empty').hidden = entries.length > 0;
}

function togglePause() {
  paused = !paused;
  part('pause').setAttribute('aria-pressed', String(paused));
  part('pause').textContent = paused ? 'Resume' : 'Pause';
  if (!paused) {
    const missed = heldDropped ? [{ kind: 'gap', reason: 'held', count: heldDropped }] : [];
    const found = [...missed, ...held];
    [held, heldDropped] = [[], 0];
    add(found);
  }
  showState();
  showCount();
}

function clear() {
  entries = [];
  render();
}

async function copy() {
  const lines = entries.filter(wanted).map((entry) => JSON.stringify(entry));
  const button = part('copy');
  try {
    await navigator.clipboard.writeText(`[${lines.join(',\n')}]\n`);
    button.textContent = 'Copied';
  } catch {
    button.textContent = 'Not allowed by the browser';
  }
  setTimeout(() => (button.textContent = 'Copy as JSON'), 2000);
}

function element(name, className, text = '') {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
