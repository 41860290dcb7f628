"""`python -m gateway.reseal [--to KEY_ID]`: moves every secret to another sealing key. For operators, when keys rotate.

Without `--to` it only says how many secrets name each key. Run it where the gateway runs, with the gateway's settings,
after every runner has both keys. It may be stopped and started again; a key that no secret names any more can then be
taken from `RUNNER_SEALING_KEYS` and destroyed.

Exit status: 0 all moved, 1 some could not be or nobody could be asked (the reason is on standard error).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence

from gateway.installs.resealing import key_uses, move_all
from gateway.proxy.reseal import open_resealing
from gateway.settings import load_settings
from gateway.store.pool import Database, open_database
from shared import logs
from shared.errors import PlatformError
from shared.limits import RESEAL_BATCH_MAX_COUNT
from shared.settings import SettingError


async def run(env: Mapping[str, str], to_key_id: str | None, batch: int) -> int:
    """Do it; the exit status."""
    settings = load_settings(env)
    async with open_database(
        settings.database_url, settings.platform_database_url, settings.database_direct_url
    ) as store:
        stuck = False
        if to_key_id is not None:
            async with open_resealing(settings) as runner:
                moved = await move_all(store, runner, to_key_id, batch=batch, progress=_progress)
            sys.stdout.write(f"{moved.count} moved to {to_key_id}\n")
            for one in moved.stuck:
                sys.stderr.write(
                    f"stuck: tenant {one.tenant_id} install {one.install_id} {one.name}: key {one.key_id}: "
                    f"{one.code}: {one.message}\n"
                )
            stuck = bool(moved.stuck)
        await _tell(store)
    return int(stuck)


async def _tell(store: Database) -> None:
    uses = await key_uses(store)
    for use in uses:
        sys.stdout.write(f"{use.count}\t{use.key_id}\t{use.algorithm}\n")
    if not uses:
        sys.stdout.write("there are no secrets\n")


def _progress(count: int) -> None:
    sys.stderr.write(f"{count} moved\n")


def main(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """The process: its exit status, with the reason on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.reseal", description="Move secrets to another sealing key."
    )
    parser.add_argument("--to", metavar="KEY_ID", help="the key that all secrets shall name; every runner must have it")
    parser.add_argument(
        "--batch", type=int, choices=range(1, RESEAL_BATCH_MAX_COUNT + 1), metavar="N", default=RESEAL_BATCH_MAX_COUNT
    )
    wanted = parser.parse_args(arguments)
    logs.configure("gateway")
    try:
        return asyncio.run(run(env, wanted.to, wanted.batch))
    except (SettingError, PlatformError, OSError) as error:
        sys.stderr.write(f"reseal: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
