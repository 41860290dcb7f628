"""The tests of this extension: `python -m unittest`. The runtime is the copy in `vendor/`, as in the component."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "vendor"))
