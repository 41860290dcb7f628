// Builds a guest for `wasmtime serve`: node build.mjs TOOLCHAIN SOURCE OUTPUT [WIT]
//
// Without WIT the world is empty and the output only shows, through its imports, which wasi:http the toolchain speaks;
// with it, the world `peer` in that folder exports the incoming handler.
import { writeFile } from "node:fs/promises";
import { argv } from "node:process";
import { pathToFileURL } from "node:url";

const [toolchain, sourcePath, output, witPath] = argv.slice(2);
const { componentize } = await import(pathToFileURL(toolchain));
const wit = witPath ? { witPath } : { witWorld: "package bench:peer;\nworld peer {}\n" };
const { component } = await componentize({ sourcePath, ...wit, worldName: "peer", disableFeatures: [] });
await writeFile(output, component);
