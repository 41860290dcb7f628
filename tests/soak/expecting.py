"""What is asked in a soak, and what must come back: each kind of call knows its only right answer.

Every answer is checked whole: whose it is, what it says, which code it carries, and that it says what it used.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from deploy.local.record import Extension
from shared import wire
from tests.soak.asking import Ask, Told

TIMEOUT_MS: Final = 250
KILLED_AFTER_MS: Final = 20_000
LANGUAGES: Final = {
    "hello-python": "python",
    "hello-quickjs": "javascript (quickjs)",
    "hello-starling": "javascript (starlingmonkey)",
}
TRAPS_PER_1000, TIMEOUTS_PER_1000, KILLS_PER_1000 = 10, 10, 1
TURNED_AWAY: Final = frozenset({"overloaded", "tenant_over_concurrency"})


class Expected(msgspec.Struct, frozen=True):
    """A call and its only right answer. `wrong` says in words what is not as it must be, or nothing."""

    kind: str
    ask: Ask
    wrong: Callable[[Told], str]


class Plan:
    """Draws calls: the same ones for the same seed, in blocks of a thousand with exact shares of failures."""

    def __init__(self, tenants: Sequence[str], extensions: Sequence[Extension], seed: int) -> None:
        self._tenants, self._extensions = tenants, extensions
        self._random = random.Random(seed)
        self._block: list[str] = []
        self._drawn: set[str] = set()
        self._number = 0

    def next(self) -> Expected:
        """The next call."""
        if not self._block:
            failures = ["trap"] * TRAPS_PER_1000 + ["timeout"] * TIMEOUTS_PER_1000 + ["kill"] * KILLS_PER_1000
            names = list(self._GOOD)
            weights = [weight for _, weight in self._GOOD.values()]
            self._block = failures + self._random.choices(names, weights, k=1000 - len(failures))
            self._random.shuffle(self._block)
        kind = self._block.pop()
        self._number += 1
        if kind in self._GOOD:
            return self._GOOD[kind][0](self)
        if kind == "trap":
            return Expected(kind, self._ask("/trap"), refused("guest_trapped", 502))
        if kind == "timeout":
            return Expected(kind, self._ask("/loop", timeout_ms=TIMEOUT_MS), refused("guest_timeout", 504))
        return Expected(kind, self._ask("/loop", timeout_ms=KILLED_AFTER_MS), refused("guest_aborted", 502))

    def _ask(self, path: str, **more: Any) -> Ask:
        tenant = self._random.choice(self._tenants)
        return Ask(
            extension=self._random.choice(self._extensions),
            tenant=tenant,
            path=path,
            config={"region": f"of-{tenant}"},
            user=wire.User(user_id=f"u-{tenant}", user_email="a@b.example", user_name="U", user_type="internal"),
            request_id=f"soak-{self._number}",
            debug=self._random.random() < 0.1,
            kind=wire.JSON if self._random.random() < 0.1 else wire.MSGPACK,
            **more,
        )

    # ---- calls that are answered ----------------------------------------------------------------------------

    def _hello(self) -> Expected:
        query = f"n={self._number}"
        ask = self._ask("/hello", query=query)
        language = LANGUAGES[ask.extension.name.rpartition(".")[2]]
        return Expected(
            "hello",
            ask,
            answered_json(
                {
                    "message": "hello",
                    "tenant": ask.tenant,
                    "extension": ask.extension.id,
                    "language": language,
                    "path": f"/hello?{query}",
                }
            ),
        )

    def _echo(self) -> Expected:
        size = self._random.choice((0, 1, 100, 4_000, 30_000)) or 1
        body = self._random.randbytes(size)
        kind = f"application/x-soak-{self._number}"
        ask = self._ask("/echo", method="POST", body=body, headers={"content-type": kind})

        def wrong(told: Told) -> str:
            if told.answer.body != body:
                return "another body"
            return "" if told.answer.headers.get("content-type") == kind else "another content type"

        return Expected("echo", ask, answered(200, wrong))

    def _context(self) -> Expected:
        ask = self._ask("/context")

        def wrong(told: Told) -> str:
            found = msgspec.json.decode(told.answer.body or b"null")
            context, user = found["context"], found["user_v2"]
            seen = (context["tenant_id"], context["install_id"], context["request_id"], user["user_id"])
            if seen != (ask.tenant, ask.install_id, ask.request_id, f"u-{ask.tenant}"):
                return f"another context: {seen}"
            return "" if found["region"] == f"of-{ask.tenant}" else f"another config: {found['region']}"

        return Expected("context", ask, answered(200, wrong, host_calls=5))

    def _draw(self) -> Expected:
        def wrong(told: Told) -> str:
            drawn = msgspec.json.decode(told.answer.body or b"null")["random"]
            if drawn in self._drawn or len(drawn) != 32:
                return f"randomness that is none: {drawn}"
            self._drawn.add(drawn)
            return ""

        return Expected("random", self._ask("/random"), answered(200, wrong))

    def _status(self) -> Expected:
        status = self._random.choice((204, 301, 404, 418, 500, 599))
        return Expected("status", self._ask(f"/status/{status}"), answered(status, lambda _: ""))

    def _denied(self) -> Expected:
        def wrong(told: Told) -> str:
            found = msgspec.json.decode(told.answer.body or b"null")
            right = found["secrets"] == "denied" and found["http"] == "not-allowed" and found["storage"] == "denied"
            return "" if right else f"not denied: {found}"

        return Expected("denied", self._ask("/denied"), answered(200, wrong, host_calls=5))

    def _log(self) -> Expected:
        return Expected("log", self._ask("/log"), answered_json({}, host_calls=3))

    _GOOD: Final[dict[str, tuple[Callable[[Plan], Expected], int]]] = {
        "hello": (_hello, 50),
        "echo": (_echo, 20),
        "context": (_context, 10),
        "random": (_draw, 5),
        "status": (_status, 5),
        "denied": (_denied, 5),
        "log": (_log, 5),
    }


def answered(status: int, wrong: Callable[[Told], str], host_calls: int = 0) -> Callable[[Told], str]:
    """A guest's answer with this status that `wrong` has nothing against."""

    def check(told: Told) -> str:
        answer = told.answer
        if told.http_status != 200 or answer.error is not None or answer.status != status:
            return f"{told.http_status} {told.code} {answer.status} instead of {status}"
        return wrong(told) or _unpaid(answer.usage, host_calls)

    return check


def answered_json(value: object, host_calls: int = 0) -> Callable[[Told], str]:
    """A guest's answer 200 with exactly this JSON."""

    def wrong(told: Told) -> str:
        found = msgspec.json.decode(told.answer.body or b"null")
        return "" if found == value else f"another answer: {found}"

    return answered(200, wrong, host_calls)


def refused(code: str, status: int) -> Callable[[Told], str]:
    """A platform's refusal of a call whose guest ran."""

    def check(told: Told) -> str:
        answer = told.answer
        if (told.http_status, told.code, answer.status) != (status, code, status):
            return f"{told.http_status} {told.code} instead of {status} {code}"
        if answer.error is None or not answer.error.started or answer.error.blame != "guest" or answer.body is not None:
            return f"a refusal of another shape: {answer.error}"
        return _unpaid(answer.usage, 0)

    return check


def _unpaid(usage: wire.Usage, host_calls: int) -> str:
    """What the answer does not say about its cost."""
    if usage.duration_ms <= 0 or usage.cpu_ms <= 0 or usage.queue_ms < 0 or usage.memory_peak_bytes < 0:
        return f"usage that is none: {usage}"
    return "" if usage.host_calls >= host_calls else f"{usage.host_calls} host calls instead of {host_calls}"
