"""How much linear memory a component declares from the start, read from its text without function bodies.

The text is what `wasm-tools print --skeleton` writes. Counted is what an instantiation allocates: every core module
adds the minimum of its own memories (imported ones are another module's) once for each time it is instantiated, and
a nested component adds what it contains once for each time *it* is instantiated. Definitions come before their use in
a component, so one pass over the text decides everything; nothing is kept but the sums.

A component may also instantiate a module that it imports or that another instance exports. What that allocates is not
in its text, no toolchain of ours builds such, and it is refused.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

WASM_PAGE_BYTES: Final = 65_536

_Form: TypeAlias = "list[str | _Form]"
_TOKEN: Final = re.compile(
    r"""\(;(?P<index>\d+);\)|\(;.*?;\)|;;[^\n]*|(?P<atom>[()]|\$?"(?:[^"\\]|\\.)*"|[^\s()";]+)""", re.DOTALL
)


class UnsizedComponentError(ValueError):
    """What the component allocates cannot be told from its text."""


class _Scope:
    """A component while it is read: what each module and component in it allocates, by index and by name."""

    def __init__(self, form: _Form) -> None:
        self.form = form
        self.pages = 0
        self._sizes: dict[tuple[str, str], int | None] = {}

    def define(self, sort: str, form: _Form, pages: int | None) -> None:
        """Give `pages` to the index and to the name that `form` starts with; `None` when nobody knows."""
        for atom in form:
            if isinstance(atom, str) and (atom.startswith((";", "$"))):
                self._sizes[sort, atom.removeprefix(";")] = pages

    def size(self, sort: str, reference: _Form | str) -> int | None:
        """What was defined under an index or a name."""
        return self._sizes.get((sort, reference)) if isinstance(reference, str) else None


def initial_memory_bytes(skeleton: str) -> int:
    """Bytes of linear memory that exist once the component is instantiated.

    Args:
        skeleton: the text of a valid component.

    Raises:
        UnsizedComponentError: it instantiates what stands outside its text.
    """
    stack: list[_Form] = []
    scopes: list[_Scope] = []
    pages = 0
    for token in _TOKEN.finditer(skeleton):
        atom = token["atom"]
        if atom == "(":
            stack.append([])
        elif atom == ")":
            form = stack.pop()
            if not stack:
                pages = scopes[-1].pages
            else:
                _close(form, stack[-1], scopes)
        elif stack and (token["index"] or atom):
            stack[-1].append(f";{token['index']}" if token["index"] else atom)
            if stack[-1] == ["component"] and (len(stack) == 1 or stack[-2] is scopes[-1].form):
                scopes.append(_Scope(stack[-1]))
    return pages * WASM_PAGE_BYTES


def _close(form: _Form, parent: _Form, scopes: list[_Scope]) -> None:
    """Take a finished form into what encloses it, reduced to what matters there."""
    if parent is scopes[-1].form:
        _define(form, scopes)
    elif form is scopes[-1].form:
        inner = scopes.pop()
        scopes[-1].define("component", form, inner.pages)
    elif parent[:2] != ["core", "module"]:
        parent.append(form)
    elif form[0] == "memory":
        # (memory $name ;0 2 10 …): the first bare number is the minimum, in pages
        minimum = next(atom for atom in form if isinstance(atom, str) and atom.isdecimal())
        parent.append(["pages", minimum])


def _define(form: _Form, scopes: list[_Scope]) -> None:
    """One definition of the innermost component."""
    scope = scopes[-1]
    if form[:2] == ["core", "module"]:
        own = [int(str(item[1])) for item in form if isinstance(item, list) and item[0] == "pages"]
        scope.define("module", form, sum(own))
    elif form[:2] == ["core", "instance"]:
        scope.pages += _instantiated(form, "module", scope)
    elif form[0] == "instance":
        scope.pages += _instantiated(form, "component", scope)
    elif form[0] in ("alias", "export"):
        inner = form[-1]
        sort = _sort(inner)
        if sort and isinstance(inner, list) and form[0] == "export":
            scope.define(sort, form, scope.size(sort, inner[-1]))
        elif sort and isinstance(inner, list) and form[1] == "outer":
            scope.define(sort, inner, _outer(scopes, str(form[2]), sort, form[3]))


def _instantiated(form: _Form, sort: str, scope: _Scope) -> int:
    for item in form:
        if isinstance(item, list) and item[0] == "instantiate":
            pages = scope.size(sort, item[1])
            if pages is None:
                raise UnsizedComponentError(f"it instantiates a {sort} that is not written in it")
            return pages
    return 0


def _sort(form: _Form | str) -> str:
    if form[:2] == ["core", "module"]:
        return "module"
    return "component" if form[:1] == ["component"] else ""


def _outer(scopes: list[_Scope], levels: str, sort: str, reference: _Form | str) -> int | None:
    known = levels.isdecimal() and int(levels) < len(scopes)
    return scopes[-1 - int(levels)].size(sort, reference) if known else None
