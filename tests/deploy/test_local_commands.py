"""The commands around a stack: one stack for each directory, an honest status, and a reset that removes what is ours."""

from __future__ import annotations

import io
import os
from pathlib import Path

import msgspec
import pytest

from deploy.local import commands, record, samples, stack
from deploy.local.__main__ import main
from deploy.local.failures import LOG_TAIL_LINES, StackError, first_reason, tail
from deploy.local.locks import exclusive
from deploy.local.progress import Progress

STACK = record.Stack(
    gateway_url="http://127.0.0.1:8000",
    runner_url="http://127.0.0.1:8080",
    runner_public_base="http://127.0.0.1:8081",
    database_url="postgresql://postgres:pw@127.0.0.1:5432/alga",
    redis_url="redis://default:pw@127.0.0.1:6379/0",
    s3=record.ObjectStore(endpoint="http://127.0.0.1:4566", region="r", access_key="a", secret_key="s", bucket="b"),
    runner_service_token="t",
    operator_token="o",
    trust_bundle="/keys/trust-bundle.json",
    signing_key="/keys/publisher.pem",
    tenants=(
        record.Tenant(
            id="acme", name="Acme Corporation", admin_token="A", user_token="U", client_token="C", api_key="ak_1_2"
        ),
    ),
    extensions=(
        record.Extension(
            id="e",
            name="alga.samples.hello",
            version="1.0.0",
            content_hash="sha256:0",
            install_id="i",
            tenant_id="acme",
        ),
    ),
)


def _quiet() -> Progress:
    return Progress(io.StringIO())


# ---- one stack for each directory ---------------------------------------------------------------------------


def test_a_second_stack_in_one_directory_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    lock = stack.occupy(tmp_path)
    with pytest.raises(StackError, match=f"already runs in {tmp_path} .pid {os.getpid()}.") as caught:
        stack.occupy(tmp_path)
    assert f"down --dir {tmp_path}" in caught.value.next_step
    lock.release()
    stack.occupy(tmp_path).release()


def test_two_directories_have_a_stack_each(tmp_path: Path) -> None:
    one, two = stack.occupy(tmp_path / "one"), stack.occupy(tmp_path / "two")
    one.release()
    two.release()


def test_what_a_killed_stack_said_about_itself_is_forgotten(tmp_path: Path) -> None:
    record.write(tmp_path, STACK)
    stack.occupy(tmp_path).release()
    with pytest.raises(StackError, match="no stack is ready"):
        record.read(tmp_path)


async def test_a_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        async with exclusive(tmp_path / "lock"):
            assert not stack.Lock(tmp_path / "lock").take()


# ---- stack.json ---------------------------------------------------------------------------------------------


def test_the_record_has_the_documented_shape(tmp_path: Path) -> None:
    document = msgspec.json.decode(record.write(tmp_path, STACK).read_bytes())
    assert {
        "gateway_url",
        "runner_url",
        "runner_public_base",
        "database_url",
        "redis_url",
        "s3",
        "runner_service_token",
        "operator_token",
        "trust_bundle",
        "signing_key",
        "tenants",
        "extensions",
    } <= set(document)
    assert set(document["s3"]) == {"endpoint", "region", "access_key", "secret_key", "bucket"}
    assert set(document["tenants"][0]) == {"id", "name", "admin_token", "user_token", "client_token", "api_key"}
    assert set(document["extensions"][0]) == {"id", "name", "version", "content_hash", "install_id", "tenant_id"}


def test_the_record_is_private_and_read_back_as_it_was(tmp_path: Path) -> None:
    assert record.write(tmp_path, STACK).stat().st_mode & 0o777 == 0o600
    assert record.read(tmp_path) == STACK


def test_an_extension_is_found_by_the_last_part_of_its_name() -> None:
    assert STACK.extension("hello", "acme").install_id == "i"
    with pytest.raises(KeyError):
        STACK.extension("hello", "globex")
    with pytest.raises(KeyError):
        STACK.tenant("globex")


def test_the_summary_says_ready_and_how_to_call_each_sample() -> None:
    lines = commands.summary(STACK).splitlines()
    assert lines[0] == "ready"
    assert lines[-1].strip() == (
        "curl -H 'authorization: Bearer ak_1_2' http://127.0.0.1:8000/api/ext/alga.samples.hello/hello"
    )


# ---- status, down, reset ------------------------------------------------------------------------------------


def test_the_status_of_nothing_is_not_running(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json", "--dir", str(tmp_path)]) == 1
    found = msgspec.json.decode(capsys.readouterr().out, type=commands.Status)
    assert not found.running
    assert found.services == {}


def test_a_stack_whose_services_do_not_answer_is_not_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = stack.occupy(tmp_path)
    nobody = "http://127.0.0.1:9"
    record.write(
        tmp_path,
        msgspec.structs.replace(STACK, gateway_internal_url=nobody, runner_url=nobody, compiler_url=nobody),
    )
    assert main(["status", "--json", "--dir", str(tmp_path)]) == 1
    lock.release()
    found = msgspec.json.decode(capsys.readouterr().out, type=commands.Status)
    assert found.running
    assert {name: service.ready for name, service in found.services.items()} == {
        "gateway": False,
        "runner": False,
        "compiler": False,
    }


def test_stopping_nothing_is_fine(tmp_path: Path) -> None:
    assert commands.down(tmp_path / "nothing", _quiet()) == 0
    assert commands.down(tmp_path, _quiet()) == 0
    assert not (tmp_path / "nothing").exists()


def test_a_reset_removes_what_a_stack_keeps_and_nothing_else(tmp_path: Path) -> None:
    for name in ("keys", "logs", "redis", "s3", "postgres", "cache", "build", "venvs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "ports.json").touch()
    (tmp_path / "letter-to-my-mother.txt").touch()
    assert commands.reset(tmp_path, _quiet()) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"build", "venvs", "letter-to-my-mother.txt"}


def test_a_reset_leaves_no_empty_directory(tmp_path: Path) -> None:
    stack.occupy(tmp_path / "stack").release()
    assert commands.reset(tmp_path / "stack", _quiet()) == 0
    assert not (tmp_path / "stack").exists()
    assert commands.reset(tmp_path / "stack", _quiet()) == 0


# ---- what a person reads ------------------------------------------------------------------------------------


def test_a_line_has_its_seconds_and_no_colour_in_a_file() -> None:
    out = io.StringIO()
    Progress(out).done("Redis on 127.0.0.1:6379")
    assert "\033" not in out.getvalue()
    assert out.getvalue().endswith("✓ Redis on 127.0.0.1:6379\n")
    assert " s  " in out.getvalue()


def test_a_terminal_gets_colour() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    Progress(out).failed("no")
    assert "\033[31m✗\033[0m no" in out.getvalue()


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    lines = tail(log).splitlines()
    assert len(lines) == LOG_TAIL_LINES
    assert lines[-1] == "line 99"
    assert tail(tmp_path / "none") == ""


def test_the_reason_of_a_group_is_the_stacks_own_error() -> None:
    inner = StackError("Redis ended", next_step="look")
    group = BaseExceptionGroup("", [ValueError("other"), BaseExceptionGroup("", [inner])])
    assert first_reason(group) == "Redis ended\nnext: look"
    assert first_reason(ValueError("other")) == "ValueError: other"


def test_an_error_keeps_its_logs_tail_when_the_log_is_gone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("the reason\n")
    error = StackError("it ended", log=log)
    log.unlink()
    assert "the reason" in str(error)


# ---- samples ------------------------------------------------------------------------------------------------


def test_samples_are_chosen_by_name_all_or_none() -> None:
    assert samples.choose("all") == samples.SAMPLES
    assert samples.choose("none") == ()
    assert samples.choose("hello-python, hello-quickjs,hello-python") == ("hello-python", "hello-quickjs")


def test_an_unknown_sample_is_refused_with_the_known_ones() -> None:
    with pytest.raises(StackError, match=r"'\.\./\.\./escape'") as caught:
        samples.choose("../../escape")
    assert "hello-quickjs" in caught.value.next_step


def test_a_wrong_call_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["start"], ["up", "--port", "1"], ["status", "--yaml"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert "up|down|status|reset" in capsys.readouterr().err
