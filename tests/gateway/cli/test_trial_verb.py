"""test: an author's own tests and what a component should answer; the sandbox itself is tried where guests are built."""

from __future__ import annotations

import base64

import msgspec
import pytest

from gateway.cli.testing import Answered, Case, Expected, Failure, judge
from tests.gateway.cli.projects import pages_only, with_guest, write


def answered(body: bytes = b"{}", status: int = 200, **headers: str) -> Answered:
    return Answered(status=status, headers=headers, body_b64=base64.b64encode(body).decode())


def problems(answer: Answered, **expect: object) -> tuple[str, ...]:
    return judge(Case(path="/x", expect=msgspec.convert(expect, Expected)), answer).problems


def test_an_answer_below_500_is_fine_when_nothing_is_expected():
    assert problems(answered(status=499)) == ()
    assert problems(answered(status=500)) == ("status 500; a status below 500 was expected",)
    assert problems(answered(status=500), status=500) == ()


@pytest.mark.parametrize(
    ("answer", "expect"),
    [
        (answered(status=201), {"status": 200}),
        (answered(b'{"a": 2}'), {"json": {"a": 1}}),
        (answered(b"no json"), {"json": None}),
        (answered(b"text "), {"body": "text"}),
        (answered(), {"headers": {"X-A": "1"}}),
        (answered(**{"x-a": "2"}), {"headers": {"X-A": "1"}}),
    ],
)
def test_what_is_not_as_expected_says_both(answer, expect):
    (problem,) = problems(answer, **expect)
    assert "was expected" in problem


def test_what_is_as_expected_passes():
    answer = answered(b'{"a":  [1, null]}', 404, **{"x-a": "1"})
    assert problems(answer, status=404, json={"a": [1, None]}, headers={"x-A": "1"}) == ()


def test_a_guest_that_did_not_answer_fails_whatever_was_expected():
    answer = Answered(error=Failure("guest_timeout", "too slow"))
    assert problems(answer, status=0) == ("guest_timeout: too slow",)


def test_the_authors_own_tests_decide_and_are_shown(elsewhere, command):
    write(elsewhere, {"app.py": "", "tests/__init__.py": "", "tests/test_app.py": PASSING})
    pages_only(elsewhere, api={"endpoints": [{"method": "GET", "path": "/x"}]})
    said = command("test", "--only", "own", "--json")
    assert (said.status, said.json()["own"]["ok"], said.json()["sandbox"]) == (0, True, [])
    write(elsewhere, {"tests/test_app.py": PASSING.replace("(True)", "(False)")})
    said = command("test", "--only", "own", "--json")
    assert (said.status, said.json()["ok"]) == (1, False)
    assert "False is not true" in said.json()["own"]["output"]


PASSING = """
import unittest
import alga_extension

class Here(unittest.TestCase):
    def test_it(self):
        self.assertTrue(True)
"""


def test_a_project_of_pages_has_nothing_to_test(elsewhere, command):
    pages_only(elsewhere)
    ran = command("test")
    assert (ran.status, "nothing to test" in ran.out) == (0, True)


@pytest.mark.parametrize("text", ["{}", "[{}]", '[{"path": "/x", "expect": {"stats": 200}}]', "["])
def test_a_file_of_requests_that_is_none_is_refused_with_an_example(elsewhere, command, text):
    with_guest(elsewhere)
    write(elsewhere, {"tests/sandbox.json": text})
    ran = command("test", "--only", "sandbox", "--json")
    assert (ran.status, ran.json()["code"]) == (1, "cli_tests_invalid")
    assert "expect" in ran.json()["next"]


def test_a_component_that_is_none_fails_with_its_reason(elsewhere, command):
    with_guest(elsewhere)
    ran = command("test", "--only", "sandbox", "--json")
    assert ran.status == 1
    assert "component_invalid" in ran.json()["sandbox"][0]["problems"][0]
