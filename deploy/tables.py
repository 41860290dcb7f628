"""The tables of the documentation that code already knows: `python -m deploy.tables` writes them anew.

A table stands between two comment lines in its file; what is outside is written by people and left alone. A test
compares, so that a setting, an error code or a command cannot appear without its line.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import gateway.settings
import runner.variables
from shared.capabilities import DEFAULTS, INTERFACES
from shared.error_advice import ADVICE
from shared.errors import BY_CODE
from shared.provider_files import shipped
from shared.settings import REQUIRED, Var

ROOT: Final = Path(__file__).parent.parent

SETTINGS: Final[dict[str, Sequence[Var]]] = {
    "gateway": gateway.settings.VARIABLES,
    "runner": runner.variables.RUNNER_VARIABLES,
    "compiler": runner.variables.COMPILER_VARIABLES,
}

_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _default(var: Var) -> str:
    value = var.default
    if value is REQUIRED:
        return "**required**"
    if value in (None, "", ()):
        return "unset"
    if isinstance(value, bool):
        return f"`{int(value)}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    if isinstance(value, int) and not isinstance(value, bool) and var.name.endswith("_BYTES"):
        size, unit = next(((size, unit) for size, unit in _SIZES if value % size == 0), (1, "bytes"))
        return f"`{value}` ({value // size} {unit})"
    return f"`{value}`"


def settings_table() -> str:
    """Every variable once: who reads it, its default, its sentence; secrets are marked."""
    readers: dict[str, dict[str, Var]] = {}
    for service, variables in SETTINGS.items():
        for var in variables:
            readers.setdefault(var.name, {})[service] = var
    return _table(
        ("variable", "read by", "default", "what it does"),
        (
            (f"`{name}`", ", ".join(services), _defaults(services), _sentence(next(iter(services.values()))))
            for name, services in sorted(readers.items())
        ),
    )


def _defaults(services: Mapping[str, Var]) -> str:
    """One default, or one for each service where they differ."""
    texts = {service: _default(var) for service, var in services.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{service}: {text}" for service, text in texts.items())


def _sentence(var: Var) -> str:
    text = var.help[:1].upper() + var.help[1:] if re.match(r"[a-z]+ ", var.help) else var.help
    return text + ("" if text.endswith(".") else ".") + (" *Secret.*" if var.secret else "")


def errors_table() -> str:
    """Every error code: status, blame, and what each person should do."""
    rows = (
        (
            f"`{code}`",
            str(cls.status),
            str(cls.blame),
            cls.title,
            ADVICE[code].user,
            ADVICE[code].operator,
            ADVICE[code].author,
        )
        for code, cls in sorted(BY_CODE.items())
    )
    return _table(("code", "status", "blame", "means", "the user", "the operator", "the author"), rows)


def capabilities_table() -> str:
    """Every interface a guest may import, and what opens it."""
    every = [*((name, cap, "the platform") for name, cap in INTERFACES.items())]
    every += [(one.name, one.capability, "the host application") for one in shipped()]
    rows = ((f"`{name}`", f"`{cap}`", "yes" if cap in DEFAULTS else "no", by) for name, cap, by in sorted(every))
    return _table(("interface", "capability", "granted by default", "answered by"), rows)


def modules_table() -> str:
    """Every module of `shared` with the first sentence of its docstring."""
    rows = (
        (f"[`{path.stem}`]({path.name})", _first_sentence(path))
        for path in sorted((ROOT / "shared").glob("*.py"))
        if path.name != "__init__.py"
    )
    return _table(("module", "what it is"), rows)


def _first_sentence(path: Path) -> str:
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", text)[0].rstrip(":")


def commands_table() -> str:
    """Every target of the Makefile that has a sentence."""
    found: Iterator[tuple[str, str]] = (
        (match[1], match[2])
        for match in re.finditer(r"^([a-z-]+):.*?## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    return _table(("command", "what it does"), ((f"`make {name}`", sentence) for name, sentence in found))


BLOCKS: Final[tuple[tuple[str, str, Callable[[], str]], ...]] = (
    ("deploy/README.md", "settings", settings_table),
    ("shared/README.md", "modules", modules_table),
    ("shared/README.md", "capabilities", capabilities_table),
    ("shared/README.md", "errors", errors_table),
    (".github/CONTRIBUTING.md", "commands", commands_table),
)


def replace_block(text: str, name: str, table: str) -> str:
    """`text` with `table` between its two comment lines. Raises `ValueError` when they are missing or doubled."""
    begin, end = f"<!-- begin {name}: written by make fmt -->", f"<!-- end {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"expected {begin} and {end} once each")
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def documents() -> dict[Path, str]:
    """Each file that holds a table, with the text it should have."""
    texts: dict[Path, str] = {}
    for name, block, render in BLOCKS:
        path = ROOT / name
        texts[path] = replace_block(texts.get(path) or path.read_text(), block, render())
    return texts


def main() -> None:
    """Write every table that is out of date and say which."""
    for path, text in documents().items():
        if path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
