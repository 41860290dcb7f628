"""Initial memory: what an instantiation allocates, counted from the text of a component."""

from __future__ import annotations

import pytest

from shared.component_memory import WASM_PAGE_BYTES, UnsizedComponentError, initial_memory_bytes


def pages(body: str) -> int:
    total = initial_memory_bytes(f"(component\n{body}\n)\n")
    assert total % WASM_PAGE_BYTES == 0
    return total // WASM_PAGE_BYTES


ONE = "(core module (;0;) (memory (;0;) 3))"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", 0),
        (ONE, 0),
        (ONE + "(core instance (;0;) (instantiate 0))", 3),
        (ONE + "(core instance (;0;) (instantiate 0))" * 3, 9),
        ("(core module $m (;0;) (memory $a (;0;) 2 10) (memory (;1;) 1))(core instance (;0;) (instantiate $m))", 3),
        ('(core module (;0;) (import "a" "m" (memory (;0;) 99)))(core instance (;0;) (instantiate 0))', 0),
        ('(core module (;0;) (memory (;0;) 3) (export "memory" (memory 0)))(core instance (;0;) (instantiate 0))', 3),
        (ONE + '(core instance (;0;) (instantiate 0 (with "a" (instance 1)) (with "b" (instance 2))))', 3),
        (ONE + '(core instance (;0;) (export "x" (func 0)))', 0),
        ("(core module (;0;))(core instance (;0;) (instantiate 0))", 0),
    ],
)
def test_each_instantiation_adds_the_minimum_of_the_modules_own_memories(body, expected):
    assert pages(body) == expected


def test_a_nested_component_counts_as_often_as_it_is_instantiated():
    nested = f"(component (;0;) {ONE} (core instance (;0;) (instantiate 0)))"
    assert pages(nested) == 0
    assert pages(nested + "(instance (;0;) (instantiate 0))" * 2) == 6


def test_nesting_multiplies():
    text = f"(component (;0;) {ONE} (core instance (;0;) (instantiate 0)))"
    for _ in range(40):
        text = f"(component (;0;) {text} (instance (;0;) (instantiate 0))(instance (;1;) (instantiate 0)))"
    assert pages(text + "(instance (;0;) (instantiate 0))") == 3 * 2**40


def test_a_module_of_an_outer_component_counts():
    inner = "(component (;0;) (alias outer 1 0 (core module (;0;))) (core instance (;0;) (instantiate 0)))"
    assert pages(ONE + inner + "(instance (;0;) (instantiate 0))") == 3


def test_an_exported_module_counts_under_its_new_index():
    assert pages(ONE + '(export (;1;) "m" (core module 0))(core instance (;0;) (instantiate 1))') == 3


@pytest.mark.parametrize(
    "body",
    [
        '(import "m" (core module (;0;) (type 0)))(core instance (;0;) (instantiate 0))',
        '(alias export 0 "m" (core module (;0;)))(core instance (;0;) (instantiate 0))',
        '(import "c" (component (;0;) (type 0)))(instance (;0;) (instantiate 0))',
        '(alias export 0 "c" (component (;0;)))(instance (;0;) (instantiate 0))',
        "(alias outer 9 0 (core module (;0;)))(core instance (;0;) (instantiate 0))",
    ],
)
def test_what_is_not_written_in_the_component_cannot_be_sized(body):
    with pytest.raises(UnsizedComponentError):
        pages(body)


def test_types_strings_and_comments_are_not_definitions():
    noise = (
        '(type (;0;) (component (core module (;0;) (memory 9)) (import "(memory 9)" (func))))'
        '(import "\\"(core module (memory 9))" (instance (;0;) (type 0)))'
        ';; (core module (memory 9))\n(; (memory 9) ;)(@custom "(memory 9)" "\\\\")'
    )
    assert pages(noise + ONE + noise + "(core instance (;0;) (instantiate 0))" + noise) == 3


def test_a_name_with_parentheses_is_one_word():
    module = '(core module $"#m) (memory 7" (@name "m) (memory 7") (;0;) (memory (;0;) 1))'
    assert pages(module + '(core instance (;0;) (instantiate $"#m) (memory 7"))') == 1
