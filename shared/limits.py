"""Every limit of the platform: unit last in the name, reason beside the number, relations asserted below.

`/api/limits` serves them; tests try each one below, at and above. A number that is not here is not a limit.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# ---- one call -----------------------------------------------------------------------------------------------
REQUEST_BODY_MAX_BYTES: Final = 10 * MIB  # what a browser form with a document needs; held in memory once a hop
RESPONSE_BODY_MAX_BYTES: Final = 10 * MIB  # the same, on the way back
GUEST_ANSWER_MAX_BYTES: Final = 2_796_160  # wasmtime 50: host-call fuel 128 MiB ÷ 48 bytes for each list element
HEADER_BLOCK_MAX_BYTES: Final = 32 * KIB  # names and values together, at the gateway's door
HEADERS_MAX_COUNT: Final = 128  # a guest that answers with more is not talking to a browser
WIRE_MAX_BYTES: Final = 16 * MIB  # JSON of a 10 MiB body in base64 (13.4 MiB) plus context
URL_MAX_BYTES: Final = 8 * KIB  # the longest URL common proxies pass on
TIMEOUT_DEFAULT_MS: Final = 5_000  # a user waits no longer for a page
TIMEOUT_MAX_MS: Final = 30_000  # what load balancers allow by default, halved
KILL_GRACE_MS: Final = 50  # after the deadline the sandbox is killed from outside; epochs end it sooner
GATEWAY_GRACE_MS: Final = 500  # the gateway waits this much longer, so that `guest_timeout` wins the race
TOKEN_LIFETIME_MAX_S: Final = 60  # an execute or identity token; long enough for a queue, short enough to leak
HOST_TOKEN_GRACE_S: Final = 5  # a host token outlives its call's deadline by this
CLOCK_SKEW_S: Final = 60  # between gateway and runner (fault F25)

# ---- one guest ----------------------------------------------------------------------------------------------
MEMORY_DEFAULT_MB: Final = 64  # three times what the largest toolchain's hello needs
MEMORY_MAX_MB: Final = 256  # bounds the damage of `memory.copy` in a loop as well (threat T16)
WASM_STACK_MAX_BYTES: Final = 512 * KIB  # wasmtime's default; enough for both JavaScript engines
STORE_MAX_INSTANCES: Final = 64  # componentize-py needs 21 core instances
STORE_MAX_TABLES: Final = 64  # one for each core instance
STORE_MAX_MEMORIES: Final = 16  # adapters bring their own
TABLE_MAX_ELEMENTS: Final = 200_000  # StarlingMonkey's function table holds about 20,000
LOG_EVENT_MAX_BYTES: Final = 8 * KIB  # one line of a person's attention (RUNNER_DEBUG_MAX_EVENT_BYTES)
LOG_EXECUTION_MAX_BYTES: Final = 1 * MIB  # then one marker and silence

# ---- between the runner and a sandbox -----------------------------------------------------------------------
FRAME_MAX_BYTES: Final = 12 * MIB  # one body of 10 MiB with its headers, raw
HOST_CALLS_MAX: Final = 10_000  # awaited host calls in one execution; far above any honest guest

# ---- queues and processes -----------------------------------------------------------------------------------
TENANT_QUEUE_MAX: Final = 64  # waiting calls of one tenant in one worker; beyond: 429
QUEUE_MAX: Final = 1_024  # waiting calls of one worker; beyond: 503
SANDBOX_IDLE_MAX: Final = 256  # bound, idle processes kept by one worker at 2–4 MiB each
SANDBOX_CALLS_MAX: Final = 5_000  # then recycled: leaks of the C API stay bounded
SANDBOX_SPARES: Final = 1  # forked unbound, so that a new tenant pays no fork

# ---- bundles ------------------------------------------------------------------------------------------------
BUNDLE_MAX_BYTES: Final = 200 * MIB  # compressed
BUNDLE_UNPACKED_MAX_BYTES: Final = 512 * MIB  # what a node unpacks before it gives up
BUNDLE_MAX_FILES: Final = 10_000  # a large single-page application has about 2,000
BUNDLE_FILE_MAX_BYTES: Final = 64 * MIB  # one asset
COMPONENT_MAX_BYTES: Final = 128 * MIB  # seven times componentize-py's
BUNDLE_NAME_PART_MAX_BYTES: Final = 255  # NAME_MAX of every file system we write to
BUNDLE_NAME_MAX_BYTES: Final = 1_024
ZSTD_WINDOW_MAX_BYTES: Final = 128 * MIB  # memory a decompressor must set aside
ZSTD_RATIO_MAX: Final = 200  # text compresses 10×, zeros 10,000×
MANIFEST_MAX_BYTES: Final = 1 * MIB  # the largest useful one is 50 KiB
SIGNATURE_MAX_BYTES: Final = 64 * KIB  # a DSSE envelope with dozens of signatures

# ---- assets, caches, feeds ----------------------------------------------------------------------------------
NEGATIVE_CACHE_S: Final = 5  # a missing digest is asked for at most this often
INSTALL_CACHE_S: Final = 5  # a resolved install
INSTALL_NEGATIVE_CACHE_S: Final = 1
STATE_POLL_S: Final = 1  # a revocation must act everywhere within 5 s
STATE_SILENT_S: Final = 30  # then EXT_STALE_MODE decides
UI_LOOKUPS_PER_S: Final = 20  # unknown digests asked of the gateway by one runner
PREPARE_MAX_S: Final = 120  # one compilation
CACHE_MAX_BYTES: Final = 10 * GIB  # EXT_CACHE_MAX_BYTES: a node's disk, not its tenants, decides
AUDIT_CLOSE_MAX_MS: Final = 1_000  # closing rows are written behind the answer, at most this late
IFRAME_SESSION_MAX_S: Final = 600

assert GUEST_ANSWER_MAX_BYTES * 48 <= 128 * MIB < (GUEST_ANSWER_MAX_BYTES + 48) * 48
assert REQUEST_BODY_MAX_BYTES * 4 // 3 < WIRE_MAX_BYTES
assert REQUEST_BODY_MAX_BYTES < FRAME_MAX_BYTES
assert TIMEOUT_DEFAULT_MS <= TIMEOUT_MAX_MS < TOKEN_LIFETIME_MAX_S * 1000
assert MEMORY_DEFAULT_MB <= MEMORY_MAX_MB
assert TENANT_QUEUE_MAX <= QUEUE_MAX
assert BUNDLE_FILE_MAX_BYTES <= COMPONENT_MAX_BYTES <= BUNDLE_UNPACKED_MAX_BYTES
assert KILL_GRACE_MS < GATEWAY_GRACE_MS
