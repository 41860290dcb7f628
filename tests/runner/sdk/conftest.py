"""Makes the Python runtime importable as guests import it: it lies beside the runner, not on anybody's path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "runner" / "sdk" / "python"))
