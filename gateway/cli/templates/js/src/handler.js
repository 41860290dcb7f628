// What the platform calls. The world has the interfaces whose capabilities manifest.json declares, and those granted by
// default; import the ones you use and give them to bindHost. What the extension does stands in routes.js, which knows
// nothing of the world and can be tested in plain Node.js.

import * as context from 'alga:extension/context';
import * as logging from 'alga:extension/logging';
import { bindHost, createHandler } from '../vendor/extension-runtime/src/index.js';
import { routes } from './routes.js';

export const handler = createHandler(routes, bindHost({ context, logging }));
