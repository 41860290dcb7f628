"""`python -m gateway`: one process, one event loop, two listeners over one context.

SIGTERM: `readyz` fails at once, the listeners stay for a moment so that balancers notice, then what is under way
finishes and everything closes in reverse. SIGHUP: the trust bundle is read again now.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Final

import structlog
import uvloop

from gateway import migrate, settings
from gateway.app import create_internal_app, create_public_app, open_gateway
from gateway.server import listen, serve_on, stop_signals
from gateway.settings import GatewaySettings, load_settings
from shared import logs
from shared.errors import PlatformError
from shared.settings import SettingError, unknown
from shared.trust import TrustFormatError

_LINGER_S: Final = 5  # between "not ready" and "not listening", in a cluster


async def run(wanted: GatewaySettings) -> None:
    """Serve until a signal asks to stop."""
    async with stop_signals() as asked, open_gateway(wanted, asked) as ctx:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, ctx.trust.reload)
        closing, public, internal = asyncio.Event(), listen(wanted.bind), listen(wanted.internal_bind)
        ports = {"port": public.getsockname()[1], "internal_port": internal.getsockname()[1]}
        async with asyncio.TaskGroup() as group:
            group.create_task(serve_on(create_public_app(ctx), public, closing))
            group.create_task(serve_on(create_internal_app(ctx), internal, closing))
            ctx.log.info("gateway_started", **ports, mode=wanted.mode)
            await asked.wait()
            ctx.log.info("gateway_draining")
            await asyncio.sleep(0 if wanted.local else _LINGER_S)
            closing.set()
    structlog.get_logger("gateway").info("gateway_stopped")


def main(env: Mapping[str, str]) -> int:
    """The process: 0 after a clean stop, 1 with the reason on standard error."""
    logs.configure("gateway")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # keys, and secrets on their way into a box, stay out of files
    for warning in unknown(env, settings.VARIABLES, migrate.VARIABLES):
        if warning.startswith("GATEWAY_") or "did you mean" in warning:  # the runner's own are not ours to know
            structlog.get_logger("gateway").warning("setting_unknown", warning=warning)
    failed = False
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(load_settings(env)))
    except* (SettingError, TrustFormatError, PlatformError, OSError) as group:  # one, or wrapped by task groups
        failed = True
        for error in _leaves(group):
            sys.stderr.write(f"gateway: {error}\n")
    return int(failed)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


if __name__ == "__main__":
    sys.exit(main(os.environ))
