"""Who may call, and how much of the platform one tenant and one install of it may use at once.

Limits like those of `shared.limits`, with their rules: unit last in the name, reason beside the number, relations
asserted below, served by `/api/limits`.
"""

from __future__ import annotations

from typing import Final

from shared.limits import GATEWAY_GRACE_MS

TENANT_CALLS_PER_S: Final = 200  # over all gateways; a busy page makes ten, so twenty people open one every second
INSTALL_CALLS_PER_S: Final = 100  # one extension cannot use up what its tenant has
CALLS_BURST_S: Final = 2  # of rate that may come at once: a page that opens asks for several things
TENANT_RUNNING_MAX_COUNT: Final = 128  # calls under way; at 5 s each that is 25 a second of the slowest kind
INSTALL_RUNNING_MAX_COUNT: Final = 64  # half of the tenant's, so that one extension that hangs leaves room for others
INSTALL_CALLS_PER_HOUR_MAX: Final = 360_000  # its rate, kept up for the whole hour
INSTALL_CPU_PER_HOUR_MAX_S: Final = 3_600  # one core, busy for the whole hour
INSTALL_EGRESS_PER_HOUR_MAX_MB: Final = 10_240  # 23 Mbit/s for the whole hour; more is a copy of something
QUOTA_SETTING_MAX_COUNT: Final = 1_000_000_000  # the highest quota that can be set: as good as none
CALLS_SETTING_MAX_PER_S: Final = 1_000_000  # the highest rate that can be set: the clock behind it counts microseconds
RUNNING_SETTING_MAX_COUNT: Final = 1_000_000  # likewise, so that either can be as good as switched off
RATES_ANSWER_MAX_MS: Final = 100  # Redis answers in 0.2 ms; beyond, each gateway counts its share by itself
RATES_PROBE_S: Final = 1  # how often a gateway says that it lives, and looks whether Redis is back
RATES_SILENT_MAX_S: Final = 5  # a gateway that said nothing for so long has no share any more
RATES_BATCH_MAX_COUNT: Final = 128  # calls asked for in one round trip
RATES_LOCAL_MAX_COUNT: Final = 50_000  # tenants and installs counted without Redis; 100 bytes each
RATES_GIVEN_BACK_MAX_COUNT: Final = 10_000  # places waiting to be given back to Redis; what is more ends by itself
API_KEY_CACHE_S: Final = 5  # a revoked key is announced at once; a gateway that missed it serves it no longer than this
API_KEY_NEGATIVE_CACHE_S: Final = 1  # who has just made a key tries it at once; who guesses costs no look-up each time
API_KEY_CACHE_MAX_COUNT: Final = 10_000  # keys one gateway remembers, about 1 KiB each
API_KEYS_PER_TENANT_MAX: Final = 100  # good ones at the same time: one for each tool, and room to change them
API_KEY_NAME_MAX_BYTES: Final = 100  # what fits a line of a list
API_KEY_USES_NOTED_S: Final = 15  # "last used" is right to the minute
IDEMPOTENCY_KEY_MAX_BYTES: Final = 255  # printable ASCII; a UUID has 36
IDEMPOTENCY_KEPT_S: Final = 86_400  # a client that retries for longer than a day has lost its user
IDEMPOTENCY_ANSWER_MAX_BYTES: Final = 262_144  # a larger answer is not kept, only that there was one: Redis is memory
IDEMPOTENCY_LEASE_GRACE_S: Final = 5  # past a call's deadline its key is free again, whatever became of its gateway
IDEMPOTENCY_STORE_MAX_MS: Final = 250  # Redis takes 1 ms for a quarter of a megabyte; beyond, the call runs without
KEYED_DRAIN_MAX_S: Final = (
    35  # at shutdown keyed calls whose clients have gone are waited for: the longest call, and a bit
)
USAGE_EXPORT_MAX_DAYS: Final = 366  # of one answer of /api/usage; a year and its leap day
JWKS_REFRESH_S: Final = (
    300  # a key that is published is known by then without being asked for; what Cache-Control often says
)
JWKS_ASK_AGAIN_S: Final = 10  # between two fetches, so that tokens with invented key ids do not become a flood of them
JWKS_STALE_MAX_S: Final = 86_400  # keys that cannot be fetched again serve a day; then nobody knows which are revoked
JWKS_FETCH_MAX_S: Final = 3  # a caller may be waiting for it
JWKS_MAX_BYTES: Final = 65_536  # some hundred keys
LEASE_GRACE_MS: Final = 2_000  # a call's place is free this long after its deadline, whatever became of its gateway

assert INSTALL_CALLS_PER_S <= TENANT_CALLS_PER_S
assert INSTALL_RUNNING_MAX_COUNT <= TENANT_RUNNING_MAX_COUNT
assert LEASE_GRACE_MS > GATEWAY_GRACE_MS  # a call that is still awaited keeps its place
assert RATES_PROBE_S * 3 <= RATES_SILENT_MAX_S  # one heartbeat that is lost takes nobody's share away
