"""Hypothesis strategies: any WIT type that has a form in JSON, and its values in the shape of the frames."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from shared.wit_types import PRIMITIVES, U8, Enum, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

names = st.from_regex(r"[a-z][a-z0-9]{0,3}(-[a-z][a-z0-9]{0,3}){0,2}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8"), max_size=20)


def _integers(name: str) -> st.SearchStrategy[int]:
    bits = int(name[1:])
    return st.integers(0, 2**bits - 1) if name[0] == "u" else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


PRIMITIVE_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "char": st.characters(codec="utf-8"),
    "string": texts,
    "f32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "f64": st.floats(allow_nan=False, allow_infinity=False),
    **{name: _integers(name) for name in PRIMITIVES if name[1:].isdigit() and name[0] in "us"},
}


def _not_an_option(wit: WitType) -> bool:
    return not isinstance(wit, OptionOf)


def _larger(inner: st.SearchStrategy[WitType]) -> st.SearchStrategy[WitType]:
    field_names = st.lists(names, min_size=1, max_size=4, unique_by=lambda name: name.replace("-", ""))
    return st.one_of(
        inner.map(ListOf),
        inner.filter(_not_an_option).map(OptionOf),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: TupleOf(tuple(items))),
        st.builds(ResultOf, st.none() | inner, st.none() | inner),
        field_names.flatmap(
            lambda found: st.builds(
                lambda types: Record("r", tuple(zip(found, types, strict=True))),
                st.lists(inner, min_size=len(found), max_size=len(found)),
            )
        ),
    )


_enums = st.lists(names, min_size=1, max_size=4, unique=True).map(lambda cases: Enum("e", tuple(cases)))
wit_types: st.SearchStrategy[WitType] = st.recursive(
    st.sampled_from(sorted(PRIMITIVES)).map(Primitive) | _enums | st.just(ListOf(U8)), _larger, max_leaves=6
)


def values(wit: WitType) -> st.SearchStrategy[Any]:
    """Values of a type."""
    match wit:
        case Primitive(name=name):
            return PRIMITIVE_VALUES[name]
        case ListOf(element=element):
            return st.binary(max_size=40) if element == U8 else st.lists(values(element), max_size=3)
        case OptionOf(inner=inner):
            return st.none() | values(inner)
        case TupleOf(items=items):
            return st.tuples(*map(values, items)).map(list)
        case ResultOf(ok=ok, err=err):
            good = st.none() if ok is None else values(ok)
            bad = st.none() if err is None else values(err)
            return st.tuples(st.just(True), good) | st.tuples(st.just(False), bad)
        case Record(fields=fields):
            return st.tuples(*(values(field) for _, field in fields)).map(list)
        case Enum(cases=cases):
            return st.sampled_from(cases)
