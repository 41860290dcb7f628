"""A file of an extension's UI from the runner's public listener, beside Hypercorn answering the same bytes.

The peer has as many workers, the same settings of its listener, and sends the same headers and the same body; what is
left of the difference is what looking the file up costs. Both are measured in turn, so that whatever else the machine
does is shared.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from deploy.local.record import Stack
from tests.bench import peers
from tests.bench.constant import Constant
from tests.bench.execute import CONCURRENT, samples
from tests.bench.figures import median
from tests.bench.measure import Load, Measured, measure
from tests.bench.progress import say
from tests.bench.rows import Row
from tests.bench.workers import Line

FILE: Final = "style.css"
BROWSER: Final = {"accept": "text/css,*/*;q=0.1", "accept-encoding": "gzip, deflate, br, zstd"}
ROUNDS: Final = 3
ROUND_S: Final = 4.0
BAR: Final = 0.9


def run(stack: Stack, directory: Path) -> list[Row]:
    """All rows of this bench."""
    extension, cores = samples(stack)["quickjs"], len(os.sched_getaffinity(0))
    asset = Load(f"{stack.runner_public_base}/ext-ui/{extension.id}/{extension.content_hash}/{FILE}", headers=BROWSER)
    answer = _answered(asset)
    with peers.bare_hypercorn(cores) as (bare_url, bare), peers.constant(answer, cores) as (same_url, same):
        constant = Load(same_url, headers=BROWSER)
        if _answered(constant) != answer:
            raise RuntimeError(f"the peer answers {_answered(constant)} instead of {answer}")
        targets = {"asset": (asset, stack.pids["runner"]), "same": (constant, same), "bare": (Load(bare_url), bare)}
        seen: dict[str, list[Measured]] = {name: [] for name in targets}
        for number in range(ROUNDS):
            say(f"assets: round {number + 1} of {ROUNDS}")
            for name, (load, pid) in targets.items():
                seen[name].append(measure(load, pid, connections=CONCURRENT, seconds=ROUND_S))
    rates = {name: median([one.per_s for one in found]) for name, found in seen.items()}
    name = f"static asset of {len(answer.body)} B, warm, c={CONCURRENT}"
    return [
        Row(
            name=f"{name}, throughput",
            value=rates["asset"],
            unit="/s",
            peer="same answer",
            peer_value=rates["same"],
            bar=BAR,
            lower=False,
        ),
        Row(
            name=f"{name}, throughput ÷ bare constant",
            value=rates["asset"],
            unit="/s",
            peer="bare",
            peer_value=rates["bare"],
            lower=False,
        ),
        Row(
            name=f"{name}, cpu",
            value=median([one.cpu_ms for one in seen["asset"]]),
            unit="ms",
            peer="same answer",
            peer_value=median([one.cpu_ms for one in seen["same"]]),
        ),
        Row(
            name="assets: failures", value=sum(one.failures for found in seen.values() for one in found), unit="", bar=0
        ),
    ]


def _answered(load: Load) -> Constant:
    """What an application answers; the server adds the date."""
    with Line(load.url) as line:
        reply = line.ask(load)
    return Constant(tuple(header for header in reply.headers if header[0] != b"date"), reply.body)
