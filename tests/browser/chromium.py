"""Where a Chromium is on this machine, and how it is started for tests. `python -m tests.browser.chromium` says so.

Never the one that playwright would download: what is tested is what the system's package manager installs, and that
works where downloads do not.
"""

from __future__ import annotations

import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

# No sandbox, because CI runs as root in a container, and only pages of our own are opened. The rest keeps it from
# speaking to anybody but the tests.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)

MISSING = "no Chromium found: apt-get install chromium (or set PATH to where it is)"


def find() -> str | None:
    """The program's path, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


def required() -> bool:
    """Whether a missing one is an error (`REQUIRE_BROWSER=1`, as in CI) instead of a reason to skip."""
    return os.environ.get("REQUIRE_BROWSER", "") not in ("", "0")


if __name__ == "__main__":
    print(find() or MISSING)
    sys.exit(find() is None)
