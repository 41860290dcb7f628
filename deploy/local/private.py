"""Files with secrets: readable for their owner only from the first byte, complete or not there at all."""

from __future__ import annotations

import os
from pathlib import Path

from deploy.local.processes import Owner


def write_private(path: Path, data: bytes, owner: Owner | None = None) -> None:
    """Write `data` to `path`, mode 0600; its folder is made when missing.

    Args:
        owner: who may read it; `None` = us. Another user needs root.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        if owner is not None:
            os.fchown(descriptor, owner.uid, owner.gid)
    fresh.replace(path)
