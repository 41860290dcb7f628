"""What a command says, and where: nothing others wrote may steer a terminal, and JSON stands alone."""

from __future__ import annotations

import io
import json
import os
import pty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.failures import CliError
from gateway.cli.terminal import Terminal, printable


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def streams():
    return io.StringIO(), io.StringIO()


def plain(streams, *, json: bool = False) -> Terminal:
    return Terminal(json=json, out=streams[0], err=streams[1])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb", "a\\x0db"),
        ("\x9b2J", "\\x9b2J"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("größer 漢字 🙂", "größer 漢字 🙂"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_no_text_keeps_a_control_character(text):
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in printable(text))


def test_line_breaks_are_kept_where_lines_are_meant():
    assert printable("a\n\tb\x07", lines=True) == "a\n\tb\\x07"
    assert printable("a\nb") == "a\\x0ab"


def test_answers_go_to_one_stream_and_remarks_to_the_other(streams):
    terminal = plain(streams)
    terminal.say("the answer", "green")
    terminal.note("a remark")
    assert (streams[0].getvalue(), streams[1].getvalue()) == ("the answer\n", "a remark\n")


def test_a_pipe_gets_no_colour_and_no_wrapped_line(streams):
    plain(streams).say("x" * 500, "bold red")
    assert streams[0].getvalue() == "x" * 500 + "\n"


def test_a_terminal_gets_colour(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = Screen()
    Terminal(json=False, out=screen, err=Screen()).say("fine", "green")
    assert "\x1b[32m" in screen.getvalue()


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    Terminal(json=False, out=screen, err=Screen()).say("fine", "green")
    assert "\x1b[32m" not in screen.getvalue()


def test_with_json_there_is_one_document_and_nothing_else(streams):
    terminal = plain(streams, json=True)
    terminal.say("text")
    terminal.note("remark")
    terminal.table(("A",), [("b",)])
    with terminal.working("work"), terminal.sending("sending", 10) as sent:
        sent(10)
    terminal.document({"a": 1})
    assert json.loads(streams[0].getvalue()) == {"a": 1}
    assert streams[1].getvalue() == ""


def test_without_json_there_is_no_document(streams):
    plain(streams).document({"a": 1})
    assert streams[0].getvalue() == ""


def test_an_error_says_what_and_what_next(streams):
    plain(streams).fail(CliError("it broke", next_step="mend it", details=("here",)))
    assert streams[1].getvalue().splitlines() == ["error: it broke", "  here", "next: mend it"]


def test_an_error_is_a_document_with_json(streams):
    error = CliError("it broke", next_step="mend it", code="cli_x", members={"path": "$.a"})
    plain(streams, json=True).fail(error)
    assert json.loads(streams[0].getvalue()) == {
        "code": "cli_x",
        "detail": "it broke",
        "next": "mend it",
        "path": "$.a",
    }


def test_a_table_keeps_each_row_on_one_line(streams):
    plain(streams).table(("NAME", "HASH"), [("a", "x" * 300), ("b\x1b", "y")])
    lines = streams[0].getvalue().splitlines()
    assert [line.split() for line in lines] == [["NAME", "HASH"], ["a", "x" * 300], ["b\\x1b", "y"]]


def test_work_is_announced_where_nothing_can_move(streams):
    with plain(streams).working("building"):
        pass
    assert streams[1].getvalue() == "building …\n"


def test_progress_moves_on_a_terminal_and_leaves_nothing():
    screen = Screen()
    terminal = Terminal(json=False, out=io.StringIO(), err=screen)
    with terminal.sending("uploading", 100) as sent:
        sent(60)
        sent(40)
    assert "uploading" in screen.getvalue()


def test_bytes_pass_unchanged_into_a_pipe(tmp_path):
    data = bytes(range(256))
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        Terminal(json=False, out=file, err=io.StringIO()).bytes(data)
    assert (tmp_path / "out").read_bytes() == data


def test_bytes_are_made_printable_on_a_terminal():
    controller, follower = pty.openpty()
    with os.fdopen(follower, "w", encoding="utf-8") as screen:
        Terminal(json=False, out=screen, err=io.StringIO()).bytes(b"a\x1b]0;title\x07\xff")
    shown = os.read(controller, 1000)
    os.close(controller)
    assert b"\\x1b]0;title\\x07\\xff" in shown
    assert b"\x1b]0" not in shown
