// Asks the extension's own handler for a greeting, and sends it a text that comes back as it was.

import { createBridge } from './alga-iframe-sdk.js';

const part = (id) => document.getElementById(id);
const bridge = createBridge();

try {
  const { navigation } = await bridge.ready();
  bridge.subscribeTheme(() => bridge.applyTheme());
  part('path').textContent = navigation.path;
  await greet();
  // Not a form: in a frame without `allow-forms` none is ever submitted.
  part('send').addEventListener('click', echo);
  part('text').addEventListener('keydown', (event) => event.key === 'Enter' && echo());
  part('send').disabled = false;
} catch (error) {
  say(error.code === 'no_host' ? 'Open this page inside the application: alone it has nobody to ask.' : error.message);
}

async function greet() {
  const hello = await bridge.callHandlerJson('/hello');
  part('extension-id').textContent = hello.extension;
  part('tenant').textContent = hello.tenant;
  part('language').textContent = hello.language;
  say(`The handler says ${hello.message}.`);
}

async function echo() {
  part('send').disabled = true;
  try {
    const answer = await bridge.callHandlerJson('/echo', { body: { text: part('text').value } });
    part('answer').textContent = answer.text;
    bridge.toast('The handler sent your text back.', 'success');
  } catch (error) {
    part('answer').textContent = `That did not work: ${error.message}`;
  } finally {
    part('send').disabled = false;
  }
}

function say(text) {
  part('greeting').textContent = text;
}
