"""logging: a guest writes lines to the debug stream. WIT: shared/wit/logging.wit.

Lines leave the sandbox as frames of their own, without waiting; what a guest prints arrives the same way.
"""

from __future__ import annotations

from runner.capabilities.capability import Capability

CAPABILITY = Capability(name="cap:log.emit", interface="logging", travels=True)
