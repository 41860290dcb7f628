"""The default theme is complete and can be read."""

from __future__ import annotations

import pytest

from gateway.console.theme import LIGHT

NAMES = [
    "bg",
    "fg",
    "muted",
    "muted-fg",
    "primary",
    "primary-foreground",
    "primary-light",
    "primary-dark",
    "primary-50",
    "primary-100",
    "primary-soft",
    "primary-soft-fg",
    "primary-soft-hover",
    "primary-border",
    "secondary",
    "secondary-foreground",
    "secondary-light",
    "border",
    "border-light",
    "ring",
    "radius",
    "accent",
    "accent-foreground",
    "danger",
    "danger-dark",
    "warning",
    "success",
    "card-bg",
    "row-even",
    "row-odd",
    "row-hover",
]


def test_every_token_of_the_kit_has_a_default_and_no_other() -> None:
    assert set(LIGHT) == {f"--alga-{name}" for name in NAMES}


def _luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(LIGHT[f"--alga-{one}"]), _luminance(LIGHT[f"--alga-{other}"])), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *[("fg", ground) for ground in ("bg", "muted", "card-bg", "row-even", "row-odd", "row-hover", "primary-50")],
        *[("muted-fg", ground) for ground in ("bg", "muted", "card-bg", "row-odd", "row-hover")],
        ("primary-foreground", "primary"),
        ("primary-foreground", "primary-dark"),
        ("secondary-foreground", "secondary"),
        ("accent-foreground", "accent"),
        ("bg", "danger"),
        ("bg", "danger-dark"),
        ("primary-soft-fg", "primary-soft"),
        ("primary-soft-fg", "primary-soft-hover"),
        *[(text, "bg") for text in ("primary", "secondary", "danger", "warning", "success")],
    ],
)
def test_text_stands_out_from_its_ground(text: str, ground: str) -> None:
    assert _contrast(text, ground) >= 4.5


def test_the_focus_ring_stands_out_from_the_page() -> None:
    assert _contrast("ring", "bg") >= 3
