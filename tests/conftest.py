"""What every suite shares: how property tests are run.

No deadline per example, since the machine is shared and a slow example is not a wrong one; CI draws the same examples
every time, so that a failure there can be repeated here, while a developer's runs keep exploring.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
