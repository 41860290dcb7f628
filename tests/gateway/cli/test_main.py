"""The program itself: verbs, usage errors, statuses and streams, as a shell sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.cli.main import _VERBS
from tests.gateway.cli.projects import pages_only

ROOT = Path(__file__).parents[3]
every_verb = pytest.mark.parametrize("verb", _VERBS)


def alga_ext(*words, cwd, **settings):
    """The program in a process of its own."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(cwd), **settings}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "gateway.cli.main", *map(str, words)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_words_the_verbs_are_listed_in_order(command):
    ran = command()
    assert ran.status == 0
    places = [ran.out.index(f"│ {verb} ") for verb in _VERBS]
    assert places == sorted(places)


@every_verb
def test_every_verb_explains_itself_and_each_option(command, verb):
    ran = command(verb, "--help")
    assert ran.status == 0
    assert f"alga-ext {verb}" in ran.out
    assert "--json" in ran.out


@every_verb
def test_an_unknown_flag_is_a_usage_error(command, verb):
    ran = command(verb, "--no-such-flag")
    assert (ran.status, ran.out) == (2, "")
    assert f"alga-ext {verb} --help" in ran.err


@every_verb
def test_a_usage_error_is_a_document_too(command, verb):
    ran = command(verb, "--no-such-flag", "--json")
    assert (ran.status, ran.json()["code"], ran.err) == (2, "cli_usage", "")


@every_verb
def test_one_word_too_many_is_a_usage_error(command, verb):
    assert command(verb, "one", "two", "three", "four").status == 2


def test_an_unknown_verb_is_a_usage_error(command):
    ran = command("deploy")
    assert ran.status == 2
    assert "deploy" in ran.err


def test_a_flag_behind_two_dashes_is_no_flag(command):
    ran = command("new", "--", "--json")
    assert ran.status == 2
    assert "'--json' is no name" in ran.err


def test_what_the_system_refuses_is_one_sentence(command, elsewhere, monkeypatch):
    monkeypatch.setenv("ALGA_EXT_KEY", "/proc/none/signing.pem")
    ran = command("keygen", "--json")
    assert (ran.status, ran.json()["code"]) == (1, "cli_io")


def test_an_interrupt_ends_quietly(command, elsewhere, monkeypatch):
    def interrupted(*_words):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", interrupted)
    assert command("list").status == 130


# ---- in a process of its own ------------------------------------------------------------------------------------


def test_the_version_is_printed(tmp_path):
    done = alga_ext("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.strip()[0].isdigit()


def test_statuses_and_streams_are_those_of_a_good_program(tmp_path):
    usage = alga_ext("pack", "--bogus", cwd=tmp_path)
    assert (usage.returncode, usage.stdout) == (2, "")
    failed = alga_ext("pack", cwd=tmp_path)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "next:" in failed.stderr
    assert "Traceback" not in failed.stderr
    refused = alga_ext("list", "--url", "https://a.example", cwd=tmp_path)
    assert refused.returncode == 3


def test_a_project_of_pages_goes_all_the_way_to_a_signed_bundle(tmp_path):
    assert alga_ext("new", "notes", "--template", "ui-only", cwd=tmp_path).returncode == 0
    project = tmp_path / "notes"
    for verb in ("build", "check", "keygen", "pack", "sign"):
        done = alga_ext(verb, "--json", cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
        json.loads(done.stdout)
        assert done.stderr == ""
    key = next((project / ".config/alga-ext").glob("*.pub.pem"))
    done = alga_ext("verify", "--trust", key, cwd=project)
    assert done.returncode == 0, done.stderr


def test_no_colour_leaves_the_program_without_a_terminal(tmp_path):
    pages_only(tmp_path, version="one")
    done = alga_ext("check", cwd=tmp_path, TERM="xterm-256color", FORCE_COLOR="1")
    assert "\x1b" not in done.stdout + done.stderr


def test_a_reader_that_leaves_early_is_no_error_to_talk_about(tmp_path):
    command = f"'{sys.executable}' -m gateway.cli.main --help | head -1"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        command, shell=True, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("Usage")
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete_verbs_and_options(shell):
    script = main.app().generate_completion(shell=shell)
    for word in ("publish", "grant-all", "allow-unused-imports"):
        assert word in script
