"""Starts the compiler role: one process, one listener, until told to end."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
import uvloop

from runner.aot.app import CompilerApp
from runner.aot.jobs import CompileLimits
from runner.listener import listen, make_config, stopping
from runner.settings import CompilerSettings
from shared.limits import PREPARE_MAX_S
from shared.settings import SettingError
from shared.trust import TrustFormatError, TrustStore

QUIET_MAX_S: Final = PREPARE_MAX_S + 30  # a caller sends nothing while it waits for its compilation

_log = structlog.get_logger()


def run_compiler(settings: CompilerSettings) -> None:
    """Serve until SIGTERM or SIGINT, then let what is under way finish. Blocks.

    Raises:
        SettingError: the trust bundle cannot be used.
    """
    uvloop.run(_until_stopped(settings))


async def serve_compiler(settings: CompilerSettings, stop: asyncio.Event, limits: CompileLimits | None = None) -> None:
    """Serve until `stop` is set. Raises `SettingError` as `run_compiler`."""
    try:
        trust = TrustStore(settings.signing_trust_bundle, unsigned_allowed=settings.ext_allow_unsigned)
    except TrustFormatError as error:
        raise SettingError(f"SIGNING_TRUST_BUNDLE: {error}") from error
    certificate, key = settings.compiler_tls_certificate, settings.compiler_tls_key
    config = make_config(
        settings.compiler_bind,
        graceful_s=PREPARE_MAX_S,
        read_s=QUIET_MAX_S,
        certificate=str(certificate) if certificate else None,
        key=str(key) if key else None,
    )
    _log.info("compiler_starts", bind=settings.compiler_bind)
    await listen(CompilerApp(settings, trust, stop, limits).asgi(), config, stop)


async def _until_stopped(settings: CompilerSettings) -> None:
    async with stopping() as stop:
        await serve_compiler(settings, stop)
