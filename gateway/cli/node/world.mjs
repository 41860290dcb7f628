// The world a JavaScript guest is built for: the platform's, and the host's randomness when one of its modules asks.
//
// QuickJS brings a source of randomness that is frozen while the component is built, so a guest that wants a real one
// imports `wasi:random`, which the platform's world does not list. It is added for those guests only: toolchains keep
// every import of their world, and the import is how others can tell that a component draws fresh numbers.

import { cp, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

const RANDOM = 'wasi:random/random@0.2.0';
const SPECIFIER = /\b(?:from|import)\s*\(?\s*(['"])(.+?)\1/g;

const WITH_RANDOM = `package alga:extension;

world runner-with-random {
    include runner;
    import ${RANDOM};
}

package wasi:random@0.2.0 {
    interface random {
        get-random-bytes: func(len: u64) -> list<u8>;
        get-random-u64: func() -> u64;
    }
}
`;

/** Where the WIT files are and which world to build `entry` for; `scratch` is a folder to write to. */
export async function worldOf(entry, witPath, scratch) {
  if (!(await imports(resolve(entry), RANDOM)) || (await names(witPath, RANDOM))) return { witPath, world: 'runner' };
  const extended = join(scratch, 'wit');
  await cp(witPath, extended, { recursive: true });
  await writeFile(join(extended, 'runner-with-random.wit'), WITH_RANDOM);
  return { witPath: extended, world: 'runner-with-random' };
}

// Whether a file of the world names it: a project's own world may have it already.
async function names(witPath, wanted) {
  const files = (await readdir(witPath, { recursive: true })).filter((name) => name.endsWith('.wit'));
  const texts = await Promise.all(files.map((name) => readFile(join(witPath, name), 'utf8')));
  return texts.some((text) => text.includes(wanted));
}

// Whether the module at `path`, or one it imports by a relative path, imports `wanted`.
async function imports(path, wanted, seen = new Set()) {
  if (seen.has(path)) return false;
  seen.add(path);
  let source;
  try {
    source = await readFile(path, 'utf8');
  } catch {
    return false; // the toolchain will say what it misses, with the line that imports it
  }
  for (const [, , specifier] of source.matchAll(SPECIFIER)) {
    if (specifier === wanted) return true;
    if (/^\.\.?\//.test(specifier) && (await imports(resolve(dirname(path), specifier), wanted, seen))) return true;
  }
  return false;
}
