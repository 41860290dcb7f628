"""The default themes are complete and can be read."""

from __future__ import annotations

import pytest

from gateway.console.theme import DARK, LIGHT, stylesheet

THEMES = {"light": LIGHT, "dark": DARK}
each_theme = pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)

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


@each_theme
def test_every_token_of_the_kit_has_a_default_and_no_other(theme: dict[str, str]) -> None:
    assert set(theme) == {f"--alga-{name}" for name in NAMES}


def _luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(theme: dict[str, str], one: str, other: str) -> float:
    light, dark = sorted((_luminance(theme[f"--alga-{one}"]), _luminance(theme[f"--alga-{other}"])), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@each_theme
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
        *[(text, "card-bg") for text in ("primary", "danger", "warning", "success")],
    ],
)
def test_text_stands_out_from_its_ground(theme: dict[str, str], text: str, ground: str) -> None:
    assert _contrast(theme, text, ground) >= 4.5


@each_theme
def test_the_focus_ring_stands_out_from_the_page(theme: dict[str, str]) -> None:
    assert _contrast(theme, "ring", "bg") >= 3
    assert _contrast(theme, "ring", "card-bg") >= 3


def test_the_stylesheet_has_every_token_of_both_themes() -> None:
    light, dark = stylesheet().split("@media (prefers-color-scheme:dark)")
    for text, theme in ((light, LIGHT), (dark, DARK)):
        assert all(f"{name}:{value};" in text for name, value in theme.items())
