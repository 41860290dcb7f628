"""Which gateway a command speaks to and as whom; no credential goes where it does not belong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli.access import Access, Target, choose, is_loopback
from gateway.cli.failures import CliError, Exit
from gateway.cli.stack import find_stack

STACK = {
    "gateway_url": "http://127.0.0.1:8000",
    "trust_bundle": "/trust.json",
    "tenants": [{"id": "acme", "api_key": "ak_acme_secret"}, {"id": "globex", "api_key": "ak_globex_secret"}],
    "of_a_later_release": 1,
}
NAMED = {"ALGA_EXT_URL": "https://ext.example", "ALGA_EXT_TOKEN": "from environment"}


def stack_at(folder: Path, **changes: object) -> Path:
    path = folder / ".local" / "stack.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**STACK, **changes}))
    return path


def test_the_options_are_asked_first(tmp_path):
    stack_at(tmp_path)
    found = choose(Access(url="https://a.example/", token="mine"), NAMED, tmp_path)
    assert (found.url, found.token, found.stack) == ("https://a.example", "mine", None)


def test_the_environment_comes_before_the_local_stack(tmp_path):
    stack_at(tmp_path)
    assert choose(Access(), NAMED, tmp_path) == Target("https://ext.example", "from environment")


def test_a_named_stack_comes_before_the_environment(tmp_path):
    path = stack_at(tmp_path)
    found = choose(Access(stack=path), NAMED, Path("/"))
    assert (found.url, found.token) == ("http://127.0.0.1:8000", "ak_acme_secret")


def test_the_local_stack_is_found_from_a_folder_below(tmp_path):
    stack_at(tmp_path)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    found = choose(Access(), {}, below)
    assert (found.url, found.token) == ("http://127.0.0.1:8000", "ak_acme_secret")
    assert found.stack is not None


def test_another_credential_may_go_to_the_local_stack(tmp_path):
    stack_at(tmp_path)
    assert choose(Access(token="mine"), {}, tmp_path).token == "mine"


def test_an_address_never_gets_the_local_stacks_credential(tmp_path):
    stack_at(tmp_path)
    for access, environment in (
        (Access(url="https://a.example"), {}),
        (Access(), {"ALGA_EXT_URL": "https://a.example"}),
    ):
        with pytest.raises(CliError) as refused:
            choose(access, environment, tmp_path)
        assert (refused.value.exit_status, refused.value.code) == (Exit.REFUSED, "unauthenticated")


def test_without_anything_the_error_names_every_way(tmp_path):
    with pytest.raises(CliError, match="no gateway was named") as failed:
        choose(Access(), {}, tmp_path)
    for way in ("--url", "ALGA_EXT_URL", "make run", "--stack"):
        assert way in failed.value.next_step


@pytest.mark.parametrize(
    "url",
    ["example.com", "ftp://a.example", "https://", "https://u:p@a.example", "https://a.example/?x", "http://[::1"],
)
def test_what_is_no_address_is_refused(url, tmp_path):
    with pytest.raises(CliError) as refused:
        choose(Access(url=url, token="t"), {}, tmp_path)
    assert refused.value.exit_status == Exit.USAGE


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://a.example", True),
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("http://localhost", True),
        ("http://a.example", False),
        ("http://10.0.0.1", False),
    ],
)
def test_an_address_is_private_when_nobody_can_listen(url, private):
    assert Target(url, "t").private is private


def test_only_this_machine_is_loopback():
    assert is_loopback("127.9.9.9")
    assert not is_loopback("localhost.example.com")


# ---- the stack's file -----------------------------------------------------------------------------------------


def test_the_environment_names_a_stack_by_its_folder_or_file(tmp_path):
    path = stack_at(tmp_path)
    for named in (path, path.parent):
        found = find_stack(None, {"ALGA_STACK": str(named)}, Path("/"))
        assert found is not None
        assert found.trust_bundle == "/trust.json"


def test_a_named_stack_that_is_not_there_is_an_error(tmp_path):
    stack_at(tmp_path)
    with pytest.raises(CliError, match="no stack is ready"):
        find_stack(tmp_path / "other.json", {}, tmp_path)


def test_no_stack_is_no_error_unless_one_was_named(tmp_path):
    assert find_stack(None, {}, tmp_path) is None


def test_a_file_that_is_no_stack_is_an_error(tmp_path):
    stack_at(tmp_path).write_text("{}")
    with pytest.raises(CliError, match="cannot be read"):
        find_stack(None, {}, tmp_path)


def test_a_stack_without_the_demo_tenant_is_an_error(tmp_path):
    stack_at(tmp_path, tenants=[])
    with pytest.raises(CliError, match="no tenant acme"):
        choose(Access(), {}, tmp_path)
