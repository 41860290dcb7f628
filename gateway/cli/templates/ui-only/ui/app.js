// The page's side of the bridge to the application around it: theme and height. Scripts come from files of the bundle
// only: one within the page, or from another host, does not run.

import { createBridge } from './alga-iframe-sdk.js';

const state = document.getElementById('state');
const bridge = createBridge();

try {
  await bridge.ready();
  bridge.subscribeTheme(() => bridge.applyTheme());
  bridge.autoResize();
  state.textContent = 'Connected to the application.';
} catch (error) {
  state.textContent = `Open this page within the application (${error.code}).`;
}
