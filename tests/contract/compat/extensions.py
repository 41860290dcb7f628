"""The guests: one for each world and way of writing it, whose source calls what its world imports and no more.

raw         nothing of ours: the module a toolchain asks for, over the bindings it generates
runtime     our runtime for the language
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from shared.provider_files import shipped
from tests.built import component
from tests.contract.compat.calls import CALLS, Call
from tests.contract.compat.worlds import WORLDS, write_world

EXAMPLES: Final = Path(__file__).parents[2] / "examples"

_RAW_JS: Final = """
function told(call) {
  try {
    return { value: call() };
  } catch (error) {
    if (typeof error?.payload !== 'string') throw error;
    return { error: error.payload };
  }
}

function plain(_name, value) {
  if (ArrayBuffer.isView(value)) return Array.from(value);
  if (Array.isArray(value?.headers)) return { ...value, headers: value.headers.map(Object.values) };
  return typeof value === 'bigint' ? Number(value) : (value ?? null);
}

export function handler(request) {
  const answers = Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, told(call)]));
  const text = JSON.stringify(answers, plain);
  return {
    status: request.http.url === '/raw' ? 200 : 404,
    headers: [{ name: 'content-type', value: 'application/json' }],
    body: Uint8Array.from(text, (character) => character.charCodeAt(0)),
  };
}
"""

_RUNTIME_JS: Final = """
function told(call) {
  try {
    return { value: plain(call()) };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return { error: error.code === 'refused' ? error.message : error.code };
  }
}

function plain(value) {
  if (value === null || typeof value !== 'object') return value ?? null;
  if (ArrayBuffer.isView(value)) return Array.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (`${Object.keys(value)}` === 'name,value') return Object.values(value);
  return Object.fromEntries(Object.entries(value).map(([name, held]) => [name, plain(held)]));
}

const answer = (_request, host) =>
  jsonResponse(Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, told(() => call(host))])));
"""

_PLAIN_PYTHON: Final = """
def plain(value):
    if isinstance(value, Enum):
        return value.name.lower().replace("_", "-")
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if is_dataclass(value):
        record = {camel(field.name): plain(getattr(value, field.name)) for field in fields(value)}
        return list(record.values()) if list(record) == ["name", "value"] else record
    return value


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
"""

_RAW_PYTHON: Final = """
def told(call):
    try:
        return {"value": plain(call())}
    except Err as error:
        return {"error": plain(error.value)}


class WitWorld(wit_world.WitWorld):
    def handler(self, request):
        body = json.dumps({name: told(call) for name, call in CALLS.items()}).encode()
        status = 200 if request.http.url == "/raw" else 404
        return types.ExecuteResponse(status, [types.HttpHeader("content-type", "application/json")], body)
"""

_RUNTIME_PYTHON: Final = """
def told(call):
    try:
        return {"value": plain(call())}
    except HostError as error:
        return {"error": str(error) if error.code == "refused" else error.code}


def answer(_request, host):
    return json_response({name: told(lambda: call(host)) for name, call in CALLS.items()})


WitWorld = entry(answer)
"""


_BOTH_JS: Final = """
import { handler as raw } from './raw.js';
import { handler as runtime } from './runtime.js';

export const handler = (request) => (request.http.url === '/raw' ? raw(request) : runtime(request));
"""

_BOTH_PYTHON: Final = """
import raw
import runtime
import wit_world


class WitWorld(wit_world.WitWorld):
    def handler(self, request):
        return (raw if request.http.url == "/raw" else runtime).WitWorld().handler(request)
"""


class Way(msgspec.Struct, frozen=True):
    """A way to write a guest: what it is built with, and where it is found in the component."""

    toolchain: str
    url: str


WAYS: Final[Mapping[str, Way]] = {
    "raw-starlingmonkey": Way("starlingmonkey", "/raw"),
    "raw-quickjs": Way("quickjs", "/raw"),
    "raw-python": Way("python", "/raw"),
    "runtime-javascript": Way("quickjs", "/runtime"),
    "runtime-python": Way("python", "/runtime"),
}


def _imports_js(calls: Mapping[str, Call]) -> list[str]:
    return [f"import * as {_camel(name)} from 'alga:extension/{name}';" for name in calls]


def _raw_js(calls: Mapping[str, Call], u64: str) -> str:
    table = [f"  '{name}': () => {call.js}," for name, call in calls.items()]
    head = [*_imports_js(calls), f"const u64 = {u64};"]
    return "\n".join([*head, "const calls = {", *table, "};", _RAW_JS])


def _runtime_js(calls: Mapping[str, Call]) -> str:
    library = (
        "import { HostError, bindHost, createHandler, jsonResponse } from '../vendor/extension-runtime/src/index.js';"
    )
    table = [f"  '{name}': (host) => {call.js_runtime}," for name, call in calls.items()]
    bound = ", ".join(_camel(name) for name in calls)
    export = f"export const handler = createHandler(answer, bindHost({{ {bound} }}));"
    return "\n".join([*_imports_js(calls), library, "const calls = {", *table, "};", _RUNTIME_JS, export, ""])


def _raw_python(calls: Mapping[str, Call]) -> str:
    names = ", ".join(name.replace("-", "_") for name in calls)
    head = [
        "import json",
        "from dataclasses import fields, is_dataclass",
        "from enum import Enum",
        "import wit_world",
        "from componentize_py_types import Err",
        f"from wit_world.imports import types, {names}",
    ]
    table = [f"    {name!r}: lambda: {call.python}," for name, call in calls.items()]
    return "\n".join([*head, "CALLS = {", *table, "}", _PLAIN_PYTHON, _RAW_PYTHON])


def _runtime_python(calls: Mapping[str, Call]) -> str:
    head = [
        "from dataclasses import fields, is_dataclass",
        "from enum import Enum",
        "from alga_extension import HostError, ManualInvoiceItemInput, entry, json_response",
    ]
    table = [f"    {name!r}: lambda host: {call.python_runtime}," for name, call in calls.items()]
    return "\n".join([*head, "CALLS = {", *table, "}", _PLAIN_PYTHON, _RUNTIME_PYTHON])


def _sources(toolchain: str, calls: Mapping[str, Call]) -> dict[str, str]:
    """The files of a project."""
    match toolchain:
        case "python":
            return {"app.py": _BOTH_PYTHON, "raw.py": _raw_python(calls), "runtime.py": _runtime_python(calls)}
        case "quickjs":
            files = {"handler.js": _BOTH_JS, "raw.js": _raw_js(calls, "Number"), "runtime.js": _runtime_js(calls)}
        case _:
            files = {"handler.js": "export { handler } from './raw.js';\n", "raw.js": _raw_js(calls, "BigInt")}
    about = {"alga": {"engine": toolchain, "runtime": "runtime.js" in files}}
    return {f"src/{name}": text for name, text in files.items()} | {"package.json": json.dumps(about)}


def built(toolchain: str, world: str, folder: Path) -> bytes:
    """The component of one toolchain for one world.

    Args:
        toolchain: of `WAYS`.
        world: of `WORLDS`.
        folder: to write the project and its world to.
    """
    interfaces = WORLDS[world]
    project = folder / "project"
    (project / "src").mkdir(parents=True)
    (project / "manifest.json").write_text("{}")
    for name, text in _sources(toolchain, {name: CALLS[name] for name in interfaces}).items():
        (project / name).write_text(text, encoding="utf-8")
    if toolchain != "python":
        (project / "node_modules").symlink_to(EXAMPLES / "node_modules")
    return component(f"compat-{world}-{toolchain}", project, write_world(folder / "wit", interfaces, shipped()))


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)
