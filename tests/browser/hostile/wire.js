// A page that speaks the bridge's language without its manners.

export const envelope = (type, payload = {}, id) => ({ alga: true, version: '1', type, payload, ...(id && { request_id: id }) });

/** Everything that is posted to this window from now on. */
export const posted = [];
addEventListener('message', (event) => posted.push({ data: event.data, ports: [...event.ports] }));

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const ports = () => posted.flatMap((message) => message.ports);
export const say = (payload) => parent.postMessage(envelope('ready', payload), '*');

/** What happened, for the test to read. */
export function report(results) {
  document.getElementById('results').textContent = JSON.stringify(results);
}
