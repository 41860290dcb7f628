"""What a guest may say about itself in numbers: names, labels and values, checked once. Pure.

Names are Prometheus names (its data model: metric and label names) of which the platform keeps a part for itself: a
metric is exposed as `ext_guest_{kind}_{name}`, a label as `guest_{label}`. So no guest can take another's kind, a name of
ours, or a label such as `le`, `job` or `tenant`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from shared.limits import METRICS_LABEL_VALUE_MAX_BYTES, METRICS_LABELS_MAX_COUNT, METRICS_NAME_MAX_CHARS

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[tuple[str, str], ...]

VALUE_MAX: Final = 1e21  # nanoseconds since 1970 are 2e18; a sum of very many stays finite

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SUFFIXES: Final = ("_total", "_bucket", "_count", "_sum", "_created", "_info")


class SampleError(ValueError):
    """A sample that is none; the text says what would be valid and repeats nothing of it."""


class Series(msgspec.Struct, frozen=True, array_like=True):
    """What samples are kept under; labels in order of their names."""

    kind: Kind
    name: str
    labels: Labels


class Sample(msgspec.Struct, frozen=True):
    """One number of one series."""

    series: Series
    value: float


def checked(kind: Kind, name: str, value: float, labels: Sequence[Sequence[str]]) -> Sample:
    """The sample that a guest's words mean; a counter may be called with or without `_total`. Raises `SampleError`."""
    if kind == "counter":
        name = name.removesuffix("_total")
    if len(name) > METRICS_NAME_MAX_CHARS or not _NAME.fullmatch(name):
        raise SampleError(
            f"a name is a letter and then letters, digits and _, {METRICS_NAME_MAX_CHARS} characters at most"
        )
    if name.endswith(_SUFFIXES):
        raise SampleError(f"a name does not end in {', '.join(_SUFFIXES)}, which mean parts of a metric")
    if not math.isfinite(value) or abs(value) > VALUE_MAX:
        raise SampleError(f"a value is a number from -{VALUE_MAX:g} to {VALUE_MAX:g}, never NaN or infinite")
    if kind != "gauge" and value < 0:
        raise SampleError(f"a {kind} takes no negative value; a gauge does")
    return Sample(Series(kind, name, _labels(labels)), value)


def _labels(labels: Sequence[Sequence[str]]) -> Labels:
    if len(labels) > METRICS_LABELS_MAX_COUNT:
        raise SampleError(f"a sample has at most {METRICS_LABELS_MAX_COUNT} labels")
    found: dict[str, str] = {}
    for name, value in labels:
        if len(name) > METRICS_NAME_MAX_CHARS or not _NAME.fullmatch(name):
            raise SampleError(
                f"a label's name is a letter and then letters, digits and _, {METRICS_NAME_MAX_CHARS} characters at most"
            )
        if name in found:
            raise SampleError("a sample has each label once")
        if len(value) > METRICS_LABEL_VALUE_MAX_BYTES or not _is_plain(value):
            raise SampleError(
                f"a label's value is at most {METRICS_LABEL_VALUE_MAX_BYTES} bytes of text without control characters"
            )
        found[name] = value
    return tuple(sorted(found.items()))


def _is_plain(value: str) -> bool:
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in value):
        return False
    return len(value.encode()) <= METRICS_LABEL_VALUE_MAX_BYTES
