"""How a command ends: exit statuses, and errors that say what to do next.

    0  done
    1  failed: something is wrong that can be put right
    2  usage: the command line is not valid
    3  refused: a rule about who may do what said no (permission, trust, consent, quota)

Every error has a code. Those of the platform (`shared/errors.py`) keep theirs, wherever they arose; the rest carry
`cli_…` codes, so that a script can tell a refusal of the gateway from a folder that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from gateway.cli.toolchains import BuildError
from shared.error_advice import ADVICE
from shared.errors import PlatformError


class Exit(IntEnum):
    """The exit status of a command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3


POLICY_CODES: Final = frozenset(
    {
        "unauthenticated",
        "invalid_session",
        "tenant_mismatch",
        "forbidden",
        "revoked",
        "bundle_untrusted",
        "content_hash_mismatch",
        "extension_disabled",
        "rate_limited",
        "quota_exceeded",
        "tenant_over_concurrency",
    }
)
"""Codes of the platform that mean "you may not", besides every `signature_…`."""


class CliError(Exception):
    """A command that cannot go on.

    Args:
        what: one sentence that says what is wrong.
        next_step: one sentence that says what to do about it.
        code: stable; a platform's code or `cli_…`.
        exit_status: of the process.
        details: further lines, such as each violation of a manifest.
        members: what the JSON form carries besides.
    """

    def __init__(
        self,
        what: str,
        *,
        next_step: str,
        code: str = "cli_failed",
        exit_status: Exit = Exit.FAILED,
        details: tuple[str, ...] = (),
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step
        self.code = code
        self.exit_status = exit_status
        self.details = details
        self.members = dict(members or {})

    def document(self) -> dict[str, Any]:
        """What `--json` prints: the members of a problem (RFC 9457) and the next step."""
        return {"code": self.code, "detail": self.what, "next": self.next_step, **self.members}


def usage(what: str, *, next_step: str) -> CliError:
    """An error in the command line itself."""
    return CliError(what, next_step=next_step, code="cli_usage", exit_status=Exit.USAGE)


def from_build(error: BuildError) -> CliError:
    """A build that failed; the toolchain's own last lines are the details."""
    return CliError(
        error.what,
        next_step=error.next_step,
        code="cli_build_failed",
        details=tuple(error.tail.splitlines()),
        members={"output": error.tail} if error.tail else None,
    )


def from_platform(error: PlatformError) -> CliError:
    """A refusal that one of the shared validators uttered here."""
    return from_problem(error.code, error.detail, error.extra)


def from_problem(code: str, detail: str, extra: Mapping[str, Any]) -> CliError:
    """A refusal with a code of the platform, met here or answered by the gateway.

    Args:
        code: of the wire contract; one of a later release is met like any failure.
        detail: what the refuser said.
        extra: further members; each of `violations` becomes a line.
    """
    return CliError(
        detail,
        next_step=_next_step(code),
        code=code,
        exit_status=Exit.REFUSED if is_policy(code) else Exit.FAILED,
        details=tuple(violation_lines(extra.get("violations"))),
        members=extra,
    )


def is_policy(code: str) -> bool:
    """Whether a platform code is a refusal by policy."""
    return code in POLICY_CODES or code.startswith("signature_")


def violation_lines(violations: object) -> list[str]:
    """`path: message` for each entry of a `violations` member; nothing for a member of another form."""
    if not isinstance(violations, (list, tuple)):
        return []
    return [
        f"{one.get('path', '$')}: {one.get('message', '')}" if isinstance(one, Mapping) else str(one)
        for one in violations
    ]


_OURS: Final = {
    "unauthenticated": "give a credential with --token or ALGA_EXT_TOKEN, or start a local stack: make run",
    "invalid_session": "take a new credential; those of a local stack change with each start: read stack.json again",
    "forbidden": "use a credential with the permission the message names; `alga-ext doctor` lists what yours may do",
    "not_installed": "alga-ext list shows what is installed; alga-ext install NAME installs",
    "signature_missing": "alga-ext sign BUNDLE, then publish again",
    "signature_untrusted_key": "have the operator trust the key, or for a local stack: alga-ext keygen --trust-local",
    "signature_publisher_mismatch": "sign with a key that may sign for this publisher, or change `publisher` in the "
    "manifest and build again",
    "version_exists": "raise `version` in manifest.json, then pack, sign and publish again",
}
"""Where the command line knows a shorter way than the advice for everybody."""


def _next_step(code: str) -> str:
    if code in _OURS:
        return _OURS[code]
    known = ADVICE.get(code)
    sentence = (known.author or known.operator or known.user) if known else ""
    return sentence or "alga-ext doctor looks for the usual reasons"
