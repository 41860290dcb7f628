"""Limits of the registry and of its operation: what publishers may send, what upkeep does at once, what raises an alert."""

from __future__ import annotations

from typing import Final

from shared.limits import GIB, MIB, STORE_TRANSACTION_MAX_MS

PUBLISHERS_PER_ACCOUNT_MAX: Final = 50  # names one account may hold: a vendor's brands; squatting on more ends here
ALLOWED_TENANTS_MAX_COUNT: Final = 1_000  # an extension is offered to by name; beyond, it is a public one
REASON_MAX_CHARS: Final = 500  # why an operator did something: a sentence or two, kept for ever
DEPRECATION_MAX_CHARS: Final = 500  # what users of a version should do instead
SEARCH_MAX_CHARS: Final = 100  # what is looked for; names have 200, nobody types them
COUNTERSIGN_ATTEMPTS_MAX_COUNT: Final = 3  # to write a signature beside another writer; then the caller repeats
REVOKE_BATCH_MAX_COUNT: Final = 10_000  # installs told at once that their version ended; the rest see it within seconds
EXECUTIONS_SPAN_MAX_DAYS: Final = 31  # "who ran it" looks at most so far at once: two partitions of the log

# ---- software bills of materials ----------------------------------------------------------------------------
SBOM_MAX_BYTES: Final = 8 * MIB  # the document in the bundle; a thousand components with licences take 2 MiB
SBOM_PACKAGES_MAX_COUNT: Final = 5_000  # of one bundle; each is a row, and a large npm project has 2,000
SBOM_NAME_MAX_CHARS: Final = 300  # group and name; at most 1.2 KB of UTF-8, so that an index entry holds it
SBOM_VERSION_MAX_CHARS: Final = 100  # SemVer with a long build tag
SBOM_PURL_MAX_CHARS: Final = 500  # a package URL with qualifiers

# ---- garbage ------------------------------------------------------------------------------------------------
GARBAGE_KEPT_S: Final = 86_400  # objects no row names: as long as an upload waits to be finalised
GARBAGE_SWEEP_S: Final = 3_600  # how often the bucket is walked
GARBAGE_LEASE_S: Final = 300  # of the gateway that walks; longer than one page of a slow store
GARBAGE_PAGE_MAX_COUNT: Final = 500  # objects of one listing, judged by one statement
GARBAGE_DELETE_MAX_MS: Final = 1_200  # one digest's objects, inside the transaction that keeps publishers away from it

# ---- abuse --------------------------------------------------------------------------------------------------
ABUSE_WATCH_S: Final = 15  # how often violations and refused signatures are counted
ABUSE_SPEND_WATCH_S: Final = 300  # how often an hour of the log is added up
ABUSE_LEASE_S: Final = 240  # of the gateway that adds up: less than the pause, so that the next turn is anybody's
ABUSE_VIOLATIONS_MAX_COUNT: Final = 5  # a guest that escapes its engine once is a fault, five times an attack
ABUSE_VIOLATIONS_WINDOW_MINUTES: Final = 10  # in which they count
ABUSE_SIGNATURE_FAILURES_MAX_COUNT: Final = 30  # an hour of one publisher: a pipeline with a wrong key tries less often
ABUSE_TENANT_CPU_MAX_S: Final = 7_200  # in an hour: two cores all the time
ABUSE_PUBLISHER_CPU_MAX_S: Final = 28_800  # in an hour, of all its tenants: eight cores
ABUSE_TENANT_EGRESS_MAX_BYTES: Final = 20 * GIB  # in an hour: 45 Mbit/s all the time
ABUSE_PUBLISHER_EGRESS_MAX_BYTES: Final = 100 * GIB  # in an hour, of all its tenants
ALERTS_OPEN_MAX_COUNT: Final = 1_000  # subjects above a limit that one turn writes down

assert GARBAGE_DELETE_MAX_MS < STORE_TRANSACTION_MAX_MS
assert ABUSE_LEASE_S < ABUSE_SPEND_WATCH_S
