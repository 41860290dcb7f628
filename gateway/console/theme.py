"""The default tokens, light and dark: what an iframe gets before its host page says anything else.

The names are the contract of the UI kit; the colours are defaults a host may replace. Text on `bg`, `muted`,
`primary`, `danger` and the other filled tokens has at least 4.5:1 contrast (WCAG 2.2, 1.4.3; a test computes it).
"""

from __future__ import annotations

from typing import Final

LIGHT: Final[dict[str, str]] = {
    "--alga-bg": "#ffffff",
    "--alga-fg": "#1a1a24",
    "--alga-muted": "#f4f4f7",
    "--alga-muted-fg": "#5b5b6b",
    "--alga-primary": "#6d28d9",
    "--alga-primary-foreground": "#ffffff",
    "--alga-primary-light": "#8b5cf6",
    "--alga-primary-dark": "#5b21b6",
    "--alga-primary-50": "#f5f3ff",
    "--alga-primary-100": "#ede9fe",
    "--alga-primary-soft": "#ede9fe",
    "--alga-primary-soft-fg": "#5b21b6",
    "--alga-primary-soft-hover": "#ddd6fe",
    "--alga-primary-border": "#c4b5fd",
    "--alga-secondary": "#0f766e",
    "--alga-secondary-foreground": "#ffffff",
    "--alga-secondary-light": "#14b8a6",
    "--alga-border": "#d4d4de",
    "--alga-border-light": "#e8e8ee",
    "--alga-ring": "#7c3aed",
    "--alga-radius": "0.5rem",
    "--alga-accent": "#c2410c",
    "--alga-accent-foreground": "#ffffff",
    "--alga-danger": "#c81e1e",
    "--alga-danger-dark": "#9b1c1c",
    "--alga-warning": "#92400e",
    "--alga-success": "#166534",
    "--alga-card-bg": "#ffffff",
    "--alga-row-even": "#ffffff",
    "--alga-row-odd": "#fafafc",
    "--alga-row-hover": "#f1effa",
}
"""CSS custom property → value."""

DARK: Final[dict[str, str]] = {
    "--alga-bg": "#14141c",
    "--alga-fg": "#ececf3",
    "--alga-muted": "#1f1f2b",
    "--alga-muted-fg": "#a9a9bb",
    "--alga-primary": "#a78bfa",
    "--alga-primary-foreground": "#17122b",
    "--alga-primary-light": "#c4b5fd",
    "--alga-primary-dark": "#8b6cf6",
    "--alga-primary-50": "#1d1930",
    "--alga-primary-100": "#272042",
    "--alga-primary-soft": "#2b2350",
    "--alga-primary-soft-fg": "#d6caff",
    "--alga-primary-soft-hover": "#362c63",
    "--alga-primary-border": "#4c3f86",
    "--alga-secondary": "#2dd4bf",
    "--alga-secondary-foreground": "#06201c",
    "--alga-secondary-light": "#5eead4",
    "--alga-border": "#363646",
    "--alga-border-light": "#2a2a38",
    "--alga-ring": "#a78bfa",
    "--alga-radius": "0.5rem",
    "--alga-accent": "#fb923c",
    "--alga-accent-foreground": "#2a1203",
    "--alga-danger": "#f87171",
    "--alga-danger-dark": "#ef5350",
    "--alga-warning": "#fbbf24",
    "--alga-success": "#4ade80",
    "--alga-card-bg": "#1a1a24",
    "--alga-row-even": "#1a1a24",
    "--alga-row-odd": "#1e1e29",
    "--alga-row-hover": "#262338",
}
"""The same names for people who prefer dark pages."""


def stylesheet() -> str:
    """Both themes as CSS: light, and dark where the reader's system asks for it."""
    light, dark = ("".join(f"{name}:{value};" for name, value in theme.items()) for theme in (LIGHT, DARK))
    return f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
