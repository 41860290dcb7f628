// Bundles each package into one ES module without dependencies. `tsc` has checked the types and written the
// declarations before this runs. Usage: node build.mjs

import { readFile } from 'node:fs/promises';
import { build } from 'esbuild';

for (const folder of ['host', 'iframe-sdk']) {
  const described = JSON.parse(await readFile(new URL(`${folder}/package.json`, import.meta.url), 'utf8'));
  await build({
    absWorkingDir: new URL(folder, import.meta.url).pathname,
    entryPoints: ['src/index.ts'],
    outfile: 'dist/index.js',
    bundle: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    keepNames: false,
    legalComments: 'none',
    banner: { js: `/* ${described.name} ${described.version} */` },
    logLevel: 'warning',
  });
}
