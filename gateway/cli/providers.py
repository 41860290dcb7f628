"""Which services of a host application an author may import: the reference ones, and those of `EXT_PROVIDERS_DIR`.

It is the directory that the operator mounts into the services, given to authors: with it, what is checked and built
here is what will be published there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from gateway.cli.failures import usage
from shared.provider import Providers
from shared.provider_files import ProviderFormatError, read_providers, shipped

VARIABLE: Final = "EXT_PROVIDERS_DIR"


def providers_here(environment: Mapping[str, str] = os.environ) -> Providers:
    """The providers. Raises `CliError` when a file of the directory is not valid."""
    directory = environment.get(VARIABLE)
    if not directory:
        return shipped()
    try:
        return read_providers(directory)
    except ProviderFormatError as error:
        raise usage(
            f"{VARIABLE}: {error}", next_step="correct that file, or ask the operator for the current ones"
        ) from error
