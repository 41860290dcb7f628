// The page's side of the bridge to the application around it: theme, height, and calls of the extension's own handler.
// Scripts come from files of the bundle only: one within the page, or from another host, does not run.

import { createBridge } from './alga-iframe-sdk.js';

const form = document.getElementById('greet');
const button = form.querySelector('button');
const answer = document.getElementById('answer');
const bridge = createBridge();

form.addEventListener('submit', (event) => {
  event.preventDefault();
  greet(new FormData(form).get('name'));
});

try {
  await bridge.ready();
  bridge.subscribeTheme(() => bridge.applyTheme());
  bridge.autoResize();
  button.disabled = false;
  answer.textContent = 'Type your name.';
} catch (error) {
  answer.textContent = `Open this page within the application (${error.code}).`;
}

async function greet(name) {
  button.disabled = true;
  try {
    const query = new URLSearchParams(name ? { name } : {});
    const { message } = await bridge.callHandlerJson(`/hello?${query}`);
    answer.textContent = message;
  } catch (error) {
    answer.textContent = `That did not work: ${error.message}`;
  } finally {
    button.disabled = false;
  }
}
