"""Projects for the command line's tests: pages alone, or a guest whose toolchain is a module of a few lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOOD_TOOLCHAIN = "export const componentize = async () => ({ component: Buffer.from('\\0asm....') });"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def manifest(**changes: Any) -> dict[str, Any]:
    """A valid manifest of an extension that is pages only."""
    return {
        "name": "local.notes",
        "publisher": "local",
        "version": "1.0.0",
        "runtime": "wasm-component@1",
        "ui": {"type": "iframe", "entry": "ui/index.html"},
        **changes,
    }


def pages_only(root: Path, **changes: Any) -> Path:
    """A project without a handler."""
    return write(root, {"manifest.json": json.dumps(manifest(**changes)), "ui/index.html": "<!doctype html>"})


def with_guest(root: Path, toolchain: str = GOOD_TOOLCHAIN, **changes: Any) -> Path:
    """A project whose installed "componentize-qjs" is the module `toolchain`."""
    pages_only(root, **{"api": {"endpoints": [{"method": "GET", "path": "/hello"}]}, **changes})
    return write(
        root,
        {
            "package.json": '{"type": "module", "alga": {"engine": "quickjs"}}',
            "src/handler.js": "export function handler() {}",
            "node_modules/componentize-qjs/package.json": '{"name": "componentize-qjs", "version": "0.4.3", '
            '"type": "module"}',
            "node_modules/componentize-qjs/index.js": toolchain,
        },
    )
