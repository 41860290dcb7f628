"""Reads WIT text into `shared.wit_types`: the subset our world and provider files are written in.

Supported: one package, interfaces with `use`, `record`, `enum`, `type`, `func`; one world with `import` and
`export`. Anything else (resources, variants, flags, futures, versions) is refused with the line, so a file that
uses more cannot be half understood. `wasm-tools` reads the same files in a test and must agree.

One thing goes beyond WIT: several files may each have an `interface types`, and together they are one. So a provider
file adds its records to the platform's, which is where components in the field expect them.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from shared.wit_types import (
    PRIMITIVES,
    Enum,
    Function,
    Interface,
    ListOf,
    OptionOf,
    Primitive,
    Record,
    ResultOf,
    TupleOf,
    WitType,
    World,
)

WIT_DIRECTORY: Final = Path(__file__).parent / "wit"

TYPES: Final = "types"
"""The interface that several files may write together."""

_DEFINING: Final = ("record", "enum", "type")
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*")  # ours; WIT has words in capitals as well
_TOKEN: Final = re.compile(r"\s+|//[^\n]*|(%?[A-Za-z][A-Za-z0-9-]*|->|[{}()<>:;,.=_/@*])|(.)")


class WitSyntaxError(ValueError):
    """The text is not WIT, or uses what this reader does not support; the message has the line."""


class _Tokens:
    """A cursor over the tokens of one text."""

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._items = list(self._scan(text))
        self._at = 0

    def _scan(self, text: str) -> Iterator[tuple[str, int]]:
        line = 1
        for found in _TOKEN.finditer(text):
            if found[2]:
                raise WitSyntaxError(f"{self._name}:{line}: unexpected {found[2]!r}")
            if found[1]:
                yield found[1].removeprefix("%"), line
            line += found[0].count("\n")

    def peek(self) -> str:
        """The next token, empty at the end."""
        return self._items[self._at][0] if self._at < len(self._items) else ""

    def next(self) -> str:
        """Take the next token."""
        token = self.peek()
        if not token:
            raise self.error("more")
        self._at += 1
        return token

    def take(self, token: str) -> bool:
        """Take the next token if it is this one."""
        if self.peek() != token:
            return False
        self._at += 1
        return True

    def second(self) -> str:
        """The token behind the next one."""
        return self._items[self._at + 1][0] if self._at + 1 < len(self._items) else ""

    def separate(self, end: str) -> None:
        """Take the comma that stands between two items; behind the last one it may be left out."""
        if not self.take(",") and self.peek() != end:
            raise self.error(f"',' or {end!r}")

    def expect(self, token: str) -> None:
        """Take exactly this token."""
        if not self.take(token):
            raise self.error(repr(token))

    def name(self, taken: Container[str] = ()) -> str:
        """Take a name in kebab-case that is not among `taken`."""
        if not _NAME.fullmatch(self.peek()):
            raise self.error("a name in lower case, words joined by hyphens")
        if self.peek() in taken:
            raise self.error("a name that is not taken")
        return self.next()

    def block(self) -> _Tokens:
        """The tokens between `{` and its `}`, as a cursor of their own."""
        self.expect("{")
        start, depth = self._at, 1
        while depth:
            token = self.next()
            depth += (token == "{") - (token == "}")
        body = _Tokens("", self._name)
        body._items = self._items[start : self._at - 1]
        return body

    def error(self, wanted: str) -> WitSyntaxError:
        """An error at the cursor."""
        line = self._items[min(self._at, len(self._items) - 1)][1] if self._items else 1
        return WitSyntaxError(f"{self._name}:{line}: expected {wanted}, found {self.peek() or 'the end'!r}")


def declared(name: str, text: str) -> tuple[str, ...]:
    """The names of the interfaces and the worlds that one file writes, in its order, the latter as `world NAME`.

    Args:
        name: of the file, for messages.
        text: WIT.

    Raises:
        WitSyntaxError: not WIT, or the package is not named.
    """
    reader = _Reader()
    reader.collect(_Tokens(text, name))
    return reader.declared()


def parse_world(texts: Iterable[tuple[str, str]]) -> World:
    """The world described by several files of one package.

    Args:
        texts: (file name, WIT text) pairs in any order.

    Raises:
        WitSyntaxError: not WIT, not supported, or a name that nothing defines.
    """
    reader = _Reader()
    pending = [_Tokens(text, name) for name, text in texts]
    for tokens in pending:
        reader.collect(tokens)
    return reader.world()


@lru_cache(maxsize=4)
def load_world(directory: Path = WIT_DIRECTORY) -> World:
    """The world in a directory of `.wit` files; ours by default."""
    return parse_world((path.name, path.read_text()) for path in sorted(directory.glob("*.wit")))


class _Reader:
    """Two passes: collect interfaces with their own types, then resolve `use` and read functions."""

    def __init__(self) -> None:
        self._package = ""
        self._sources: dict[str, list[_Tokens]] = {}
        self._done: dict[str, Interface] = {}
        self._busy: set[str] = set()
        self._worlds: dict[str, _Tokens] = {}

    def collect(self, tokens: _Tokens) -> None:
        """Split one file into its interfaces and worlds."""
        if tokens.take("package"):
            package = tokens.next()
            tokens.expect(":")
            package = f"{package}:{tokens.next()}"
            if self._package not in ("", package):
                raise tokens.error(f"package {self._package} instead of {package}")
            tokens.expect(";")
            self._package = package
        while tokens.peek():
            kind = tokens.next()
            if kind not in ("interface", "world"):
                raise tokens.error("interface or world")
            if kind == "world":
                name = tokens.name(self._worlds)
                self._worlds[name] = tokens.block()
            else:
                name = tokens.name(self._sources.keys() - {TYPES})
                self._sources.setdefault(name, []).append(tokens.block())

    def declared(self) -> tuple[str, ...]:
        """What was collected."""
        return *self._sources, *(f"world {name}" for name in self._worlds)

    def world(self) -> World:
        """Everything, resolved."""
        for name in self._sources:
            self._interface(name)
        imports: list[str] = []
        exports: list[Function] = []
        for body in self._worlds.values():
            scope: dict[str, WitType] = {}
            while body.peek():
                self._world_item(body, scope, imports, exports)
        return World(self._package, self._done, tuple(imports), tuple(exports))

    def _world_item(
        self, body: _Tokens, scope: dict[str, WitType], imports: list[str], exports: list[Function]
    ) -> None:
        word = body.next()
        if word == "use":
            self._use(body, scope)
        elif word == "import":
            imports.append(body.next())
            body.expect(";")
        elif word == "export":
            exports.append(_function(body, body.next(), scope))
        else:
            raise body.error("use, import or export")

    def _interface(self, name: str) -> Interface:
        if name in self._done:
            return self._done[name]
        self._busy.add(name)
        scope: dict[str, WitType] = {}
        functions: dict[str, Function] = {}
        for body in self._sources[name]:
            while body.peek():
                if body.take("use"):
                    self._use(body, scope)
                elif body.peek() in _DEFINING and body.second() != ":":
                    _define(body, body.next(), scope)
                else:
                    function = body.name({*functions, *scope})
                    functions[function] = _function(body, function, scope)
        self._busy.remove(name)
        self._done[name] = Interface(name, scope, tuple(functions.values()))
        return self._done[name]

    def _use(self, body: _Tokens, scope: dict[str, WitType]) -> None:
        if body.peek() in self._busy or body.peek() not in self._sources:
            raise body.error("an interface that is defined and does not use this one")
        source = self._interface(body.next())
        body.expect(".")
        body.expect("{")
        while not body.take("}"):
            if body.peek() not in source.types:
                raise body.error(f"a type of {source.name}")
            name = body.name(scope)
            scope[name] = source.types[name]
            body.take(",")
        body.expect(";")


def _define(body: _Tokens, word: str, scope: dict[str, WitType]) -> None:
    name = body.name(scope)
    if word == "type":
        body.expect("=")
        scope[name] = _type(body, scope)
        body.expect(";")
        return
    body.expect("{")
    if word == "enum":
        cases: list[str] = []
        while not cases or not body.take("}"):
            cases.append(body.name(cases))
            body.separate("}")
        scope[name] = Enum(name, tuple(cases))
        return
    fields: dict[str, WitType] = {}
    while not fields or not body.take("}"):
        field = body.name(fields)
        body.expect(":")
        fields[field] = _type(body, scope)
        body.separate("}")
    scope[name] = Record(name, tuple(fields.items()))


def _function(body: _Tokens, name: str, scope: dict[str, WitType]) -> Function:
    body.expect(":")
    body.expect("func")
    body.expect("(")
    params: dict[str, WitType] = {}
    while not body.take(")"):
        param = body.name(params)
        body.expect(":")
        params[param] = _type(body, scope)
        body.separate(")")
    result = _type(body, scope) if body.take("->") else None
    body.expect(";")
    return Function(name, tuple(params.items()), result)


def _type(body: _Tokens, scope: dict[str, WitType]) -> WitType:
    word = body.next()
    if word in PRIMITIVES:
        return Primitive(word)
    if word == "result":
        return _result(body, scope)
    if word in ("list", "option", "tuple"):
        items = _arguments(body, scope)
        if word == "tuple":
            return TupleOf(items)
        if len(items) != 1:
            raise body.error(f"one type argument of {word}")
        return ListOf(items[0]) if word == "list" else OptionOf(items[0])
    if word not in scope:
        raise body.error(f"a known type instead of {word!r}")
    return scope[word]


def _arguments(body: _Tokens, scope: dict[str, WitType]) -> tuple[WitType, ...]:
    body.expect("<")
    items: list[WitType] = []
    while not body.take(">"):
        items.append(_type(body, scope))
        body.take(",")
    return tuple(items)


def _result(body: _Tokens, scope: dict[str, WitType]) -> WitType:
    if not body.take("<"):
        return ResultOf(None, None)
    ok = None if body.take("_") else _type(body, scope)
    err = _type(body, scope) if body.take(",") else None
    body.expect(">")
    return ResultOf(ok, err)
