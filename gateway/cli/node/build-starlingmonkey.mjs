// Builds a guest for StarlingMonkey: node build-starlingmonkey.mjs TOOLCHAIN ENTRY WIT OUTPUT, in the project's folder.
//
// The engine's own HTTP is off, because a guest fetches through the world's `http` interface and nothing else.
// Randomness and clocks stay on: without them `Math.random()` repeats itself in every call and time stands still.

import { writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { argv } from 'node:process';
import { pathToFileURL } from 'node:url';
import { worldOf } from './world.mjs';

const [toolchain, sourcePath, wit, output] = argv.slice(2);
const { componentize } = await import(pathToFileURL(toolchain));
const { witPath, world: worldName } = await worldOf(sourcePath, wit, dirname(output));
const { component } = await componentize({
  disableFeatures: ['http', 'fetch-event'],
  sourcePath,
  witPath,
  worldName,
});
await writeFile(output, component);
