// Builds a guest for QuickJS: node build-quickjs.mjs TOOLCHAIN ENTRY WIT OUTPUT, in the project's folder.
//
// The synchronous runtime, because the platform's hosts do not offer the asynchronous component ABI. Modules are
// resolved below the project only, so that what is built is what the project's digest covers.

import { readFile, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { argv, cwd } from 'node:process';
import { pathToFileURL } from 'node:url';
import { worldOf } from './world.mjs';

const [toolchain, entry, wit, output] = argv.slice(2);
const { componentize } = await import(pathToFileURL(toolchain));
const jsPath = resolve(entry);
const { witPath, world } = await worldOf(jsPath, wit, dirname(output));
const { component } = await componentize({
  jsPath,
  jsSource: await readFile(jsPath, 'utf8'),
  moduleRoot: cwd(),
  sync: true,
  witPath,
  world,
});
await writeFile(output, component);
