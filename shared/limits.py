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
BODY_READ_MAX_MS: Final = 30_000  # 10 MiB at 3 Mbit/s; a body that trickles in slower is an attack or a lost client
UNWANTED_BODY_MAX_MS: Final = 2_000  # read on after a refusal, so that closing does not reset the answer away
UNWANTED_BODY_MAX_BYTES: Final = 16 * 2**20  # what a client that sends one body over the limit has on its way
CLIENT_TAKES_NOTHING_MAX_MS: Final = 30_000  # sent and not acknowledged; then the connection is cut (fault F31)
RUNNER_CONNECT_MAX_MS: Final = 1_000  # inside one cluster; a runner that does not accept by then is down
RUNNER_CONNECTIONS_MAX: Final = 1_024  # of one gateway process to all runners; beyond, calls wait for a free one
RUNNER_KEEPALIVE_S: Final = 4  # an idle connection; below Hypercorn's 5 s, so that the server never closes first
RUNNER_DOWN_S: Final = 2  # a runner that refused a connection is asked last for this long
RUNNER_RESOLVE_S: Final = 5  # how often a runner name is looked up again
RUNNER_RETRY_SHARE: Final = 0.1  # of calls that may be repeated, so that a fault is not amplified
AUDIT_OPEN_MAX_MS: Final = 1_500  # then the log counts as unreachable; nobody hangs longer than 2 s (fault F17)
AUDIT_BATCH_MAX_ROWS: Final = 512  # rows of one commit; a statement stays below 1 MiB
AUDIT_CLOSE_QUEUE_MAX_ROWS: Final = 20_000  # closings waiting for a database that is away: 20 MiB, 20 s at 1,000/s
EXECUTION_LOST_GRACE_S: Final = 15  # beyond its deadline an open row's caller is dead: grace and closing need 3 s
EXECUTION_REAP_S: Final = 10  # how often a gateway looks for such rows; `lost` is promised within 60 s

# ---- one guest ----------------------------------------------------------------------------------------------
MEMORY_DEFAULT_MB: Final = 64  # three times what the largest toolchain's hello needs
MEMORY_MAX_MB: Final = 256  # bounds the damage of `memory.copy` in a loop as well (threat T16)
WASM_STACK_MAX_BYTES: Final = 512 * KIB  # wasmtime's default; enough for both JavaScript engines
STORE_MAX_INSTANCES: Final = 64  # componentize-py needs 21 core instances
STORE_MAX_TABLES: Final = 64  # one for each core instance
STORE_MAX_MEMORIES: Final = 16  # adapters bring their own
TABLE_MAX_ELEMENTS: Final = 200_000  # StarlingMonkey's function table holds about 20,000
INSTANCE_STATE_MAX_BYTES: Final = 4 * MIB  # the engine's own record of one instance; Python's largest has 0.3 MiB
KEEP_RESIDENT_BYTES: Final = 16 * MIB  # of a guest's memory, between calls: the most any toolchain's hello touches
MEMORIES_KEPT_MAX: Final = 4  # memories kept like that in one process: 64 MiB while a tenant's extensions are busy
TABLE_KEEP_RESIDENT_BYTES: Final = 256 * KIB  # of a guest's tables; StarlingMonkey's has 160 KiB
TRIM_IDLE_S: Final = 1  # before this no idle sandbox gives that memory back; a busy one never gets there
KEPT_IDLE_S: Final = 60  # after this every idle sandbox does, however much there is
LOG_EVENT_MAX_BYTES: Final = 8 * KIB  # one line of a person's attention (RUNNER_DEBUG_MAX_EVENT_BYTES)
LOG_EXECUTION_MAX_BYTES: Final = 1 * MIB  # then one marker and silence
LOG_EXECUTION_MAX_COUNT: Final = 4_096  # lines, likewise: an empty one costs the runner as much as a long one

# ---- egress -------------------------------------------------------------------------------------------------
EGRESS_REDIRECTS_MAX_COUNT: Final = 5  # hops a guest may ask for; each is a whole decision again
EGRESS_HEADER_BLOCK_MAX_BYTES: Final = 64 * KIB  # names and values together, either way
EGRESS_REQUEST_MAX_BYTES: Final = 5 * MIB  # a document sent on; larger uploads go in parts
EGRESS_RESPONSE_MAX_BYTES: Final = 10 * MIB  # after decoding; what a guest could answer with, too
EGRESS_CALL_MAX_S: Final = 30  # one fetch with all its redirects; less when the execution has less left
EGRESS_FETCHES_MAX_COUNT: Final = 50  # of one execution; a loop is stopped (threat T11)
EGRESS_CONCURRENT_MAX_COUNT: Final = 6  # of one tenant in one runner: what a browser opens to one host
EGRESS_BUSY_MAX_MS: Final = 1_000  # a seventh fetch waits this long for its turn; then it is refused
EGRESS_DNS_MAX_S: Final = 3  # one name, both families, retries included
EGRESS_CONNECT_MAX_S: Final = 10  # all addresses of a name, TLS included
EGRESS_ATTEMPT_DELAY_MS: Final = 250  # before the next address is tried as well (RFC 8305 §5)
EGRESS_ADDRESSES_MAX_COUNT: Final = 16  # of one name that are tried; all of them are checked
EGRESS_INTERIM_MAX_COUNT: Final = 8  # 1xx answers before the real one
EGRESS_CHUNKS_MAX_COUNT: Final = 32_768  # pieces of one answer: 320 bytes each at 10 MiB, 0.13 s of a worker's time
EGRESS_KEEPALIVE_S: Final = 4  # an idle connection; below the 5 s of common servers, so that ours ends first
EGRESS_CONNECTION_MAX_S: Final = 120  # then a name is looked up again
EGRESS_KEPT_MAX_COUNT: Final = 256  # idle connections of one worker, about 60 KiB each with TLS
EGRESS_DENIED_INSTALLS_MAX_COUNT: Final = 1_024  # installs whose denials one worker counts
EGRESS_DENIED_TARGETS_MAX_COUNT: Final = 32  # targets of each: 6 MiB when every name is as long as it may be
DENIED_TARGETS_KEPT_MAX_COUNT: Final = 100  # of one install, for its administrator: more than anybody reads
DENIED_TARGETS_KEPT_DAYS: Final = 30  # since one was denied last; the database holds the sweep to it
DENIED_TARGETS_WAITING_MAX_COUNT: Final = 10_000  # of one gateway, while the database is away: about 5 MiB
DENIED_TARGETS_SWEEP_S: Final = 3_600  # how often those past their time are removed

# ---- secrets ------------------------------------------------------------------------------------------------
SECRET_VALUE_MAX_BYTES: Final = 8 * KIB  # a private key of 8,192 bits in PEM has 6.4 KiB
SECRET_SEALED_MAX_BYTES: Final = (
    20 * KIB
)  # a value as JSON with whose it is; not one of control characters, \u0001 each
SECRETS_MAX_COUNT: Final = 64  # of one install; sealed and in base64 they travel in 1.7 MiB at most
SECRET_REDACTED_MIN_BYTES: Final = 8  # a shorter value stands in every other line by chance
SECRET_HOSTS_MAX_COUNT: Final = 16  # hosts one secret is injected for: an API in a few regions
SECRETS_BODY_MAX_BYTES: Final = 1 * MIB  # all of an install's secrets in one request, escaped as JSON
RESEAL_BATCH_MAX_COUNT: Final = 50  # boxes of one request; 10 ms of a worker's time, which others wait for
RESEAL_BODY_MAX_BYTES: Final = 2 * MIB  # such a batch of the largest boxes, in base64
RESEAL_CALL_MAX_S: Final = 20  # one such batch, each box perhaps asked of Vault
VAULT_CALL_MAX_S: Final = 2  # one answer of Vault; then it counts as away
VAULT_CALLS_MAX: Final = 16  # connections of one process to Vault; its own rate limits are per client
VAULT_ANSWER_MAX_BYTES: Final = 64 * KIB  # a decrypted value in base64 with what stands around it
VAULT_TOKEN_LEFT_SHARE: Final = 0.2  # of a token's time is left when the next one is fetched

# ---- storage ------------------------------------------------------------------------------------------------
STORAGE_NAMESPACE_MAX_CHARS: Final = 128  # a name, not a document
STORAGE_KEY_MAX_CHARS: Final = 256  # at most 1 KiB of UTF-8: namespace and key fit one index entry of 2.7 KB
STORAGE_VALUE_MAX_BYTES: Final = 64 * KIB  # settings, cursors, small documents; larger ones belong into files
STORAGE_METADATA_MAX_BYTES: Final = 4 * KIB  # of one record, as JSON text
STORAGE_NAMESPACES_MAX: Final = 32  # of one install; the database holds everyone to it, like the next two
STORAGE_KEYS_PER_NAMESPACE_MAX: Final = 5_120  # of one namespace; counted exactly, so a scan stays a page's worth
STORAGE_MAX_BYTES: Final = 256 * MIB  # of one install, values and metadata; a thousand installs fit a small database
STORAGE_BULK_MAX_COUNT: Final = 20  # records written together; each holds a lock until all are
STORAGE_BULK_MAX_BYTES: Final = 512 * KIB  # of them, values and metadata; one statement stays below 1 MiB
STORAGE_TTL_MIN_S: Final = 60  # anything shorter belongs into a guest's memory
STORAGE_TTL_MAX_S: Final = 2_592_000  # 30 days; what lives longer has no end
STORAGE_PAGE_MAX_COUNT: Final = 100  # entries of one list: 6.4 MiB when every value is as large as it may be
STORAGE_BODY_MAX_BYTES: Final = 4 * MIB  # of a REST write: a full bulk as JSON, every byte escaped
STORAGE_TENANT_CALLS_MAX: Final = 4  # of one tenant in one gateway at once: a quarter of its connections
STORAGE_TENANT_WAITING_MAX: Final = 256  # of one tenant in one gateway, for one of those; beyond: 429
STORAGE_SWEEP_S: Final = 60  # how often expired records, which nobody sees any more, are removed
STORAGE_SWEEP_MAX_COUNT: Final = 1_000  # records of one transaction: some milliseconds of locks

# ---- schedules ----------------------------------------------------------------------------------------------
SCHEDULES_MAX_COUNT: Final = 50  # of one install; a list of them is one answer
SCHEDULE_FLOOR_S: Final = 300  # between two fires of one schedule; what must be sooner is an event
SCHEDULE_CRON_MAX_CHARS: Final = 128  # of a cron line: five fields with every value listed are no schedule to read
SCHEDULE_NAME_MAX_CHARS: Final = 200  # of a schedule: a line in the console
SCHEDULE_PAYLOAD_MAX_BYTES: Final = 32 * KIB  # of a schedule, as JSON: a guest that lists all 50 gets 1.6 MiB
SCHEDULE_BODY_MAX_BYTES: Final = 64 * KIB  # of a REST write: a payload, and white space nobody needs
SCHEDULE_ERROR_MAX_CHARS: Final = 500  # of what is kept about a run that failed
SCHEDULE_POLL_S: Final = 5  # how often a gateway asks for what is due when it knows of nothing sooner
SCHEDULE_LATE_MAX_S: Final = 300  # a fire that is claimed later was missed; no other can be due before that
SCHEDULE_LEASE_S: Final = 120  # of a run: the longest call, its record, and clocks that differ
SCHEDULE_ATTEMPTS_MAX: Final = 5  # of one run; with the pauses between them a little more than twenty minutes
SCHEDULE_RETRY_S: Final = 15  # until the second attempt; each further pause is four times as long
SCHEDULE_RUNS_MAX: Final = 32  # of one gateway at once: a share of its connections to the runners
SCHEDULE_TENANT_RUNS_MAX: Final = 8  # of those, of one tenant
SCHEDULE_GUEST_CHANGES_MAX: Final = 120  # of one install by its guests, an hour and gateway: all 50 replaced, and some
SCHEDULE_RUNS_KEPT: Final = 100  # of one schedule: what became of them
SCHEDULE_TENANT_CALLS_MAX: Final = 2  # of one tenant at one gateway's database at once: writers of an install queue up

# ---- events -------------------------------------------------------------------------------------------------
EVENT_TOPIC_MAX_CHARS: Final = 200  # a name, not a document; manifests hold to it as well
EVENT_PAYLOAD_MAX_BYTES: Final = 64 * KIB  # what every CloudEvents intermediary must take; larger goes into storage
EVENT_SUBJECT_MAX_CHARS: Final = 256  # what the event is about: an id or a path, not a text
EVENT_SOURCE_MAX_CHARS: Final = 256  # a URI of a part of the host application
EVENT_ORIGIN_ID_MAX_CHARS: Final = 128  # the host application's own id of an event
EVENT_MEDIA_TYPE_MAX_CHARS: Final = 100  # of a payload; longer ones are parameters nobody reads
EVENTS_PER_MINUTE_MAX: Final = 100  # of one install, in any 60 seconds; a busy form, not a log
EVENT_HOPS_MAX: Final = 4  # events in a row that led to each other: two extensions that answer each other stop here
EVENTS_BATCH_MAX_COUNT: Final = 20  # of the host application in one request: one transaction, some milliseconds
EVENTS_BODY_MAX_BYTES: Final = 2 * MIB  # such a batch with the largest payloads, in base64
EVENT_TENANT_CALLS_MAX: Final = 2  # publications of one tenant in one gateway at once; more of it wait their turn
EVENT_BACKLOG_MAX_COUNT: Final = 5_000  # deliveries waiting for one install; beyond, they become dead letters at once
EVENT_DEAD_MAX_COUNT: Final = 1_000  # dead letters kept for one install, the newest: 64 MiB when all are large
EVENT_DELIVERIES_MAX: Final = 16  # calls of one gateway at once: what a small runner computes beside its users
EVENT_TENANT_DELIVERIES_MAX: Final = 8  # of one tenant among them, so that others always find half of them free
EVENT_INSTALL_DELIVERIES_MAX: Final = 4  # of one install among them
EVENT_ATTEMPTS_MAX: Final = 8  # that the extension itself failed; with the pauses between them about an hour and a half
EVENT_BACKOFF_FIRST_S: Final = 1  # after the first failure, before jitter; four times as long after each further one
EVENT_BACKOFF_MAX_S: Final = 3_600  # the longest of them: a repaired release is tried within the hour
EVENT_UNAVAILABLE_RETRY_S: Final = 5  # when the platform could not even begin; that is not the extension's failure
EVENT_CLAIM_INSTALLS_MAX: Final = 256  # with something waiting that one claim looks at: ten milliseconds at most
EVENT_LEASE_S: Final = 60  # one attempt belongs to one gateway this long; longer than any call with its ends
EVENT_POLL_S: Final = 5  # how often a gateway looks for what is due when nobody tells it; news come by NOTIFY
EVENT_DRAIN_MAX_S: Final = 5  # a stopping gateway waits this long for its deliveries, then hands them to others
EVENT_KEPT_S: Final = 86_400  # an event that was delivered, without its payload: until then its id is known again
EVENT_WAIT_MAX_DAYS: Final = 7  # a delivery to an install that rests so long becomes a dead letter
EVENT_DEAD_KEPT_DAYS: Final = 30  # a dead letter; as long as an uninstalled extension's data
EVENT_SWEEP_S: Final = 60  # how often what is past its time is removed
EVENT_SWEEP_MAX_COUNT: Final = 1_000  # rows of one transaction: some milliseconds of locks

# ---- services of a host application -------------------------------------------------------------------------
PROVIDERS_MAX_COUNT: Final = 64  # of one installation; each is linked into every sandbox
PROVIDER_FILE_MAX_BYTES: Final = 64 * KIB  # of a description or its WIT text; the largest shipped one has 4 KiB
PROVIDER_FUNCTIONS_MAX_COUNT: Final = 64  # of one interface
WIT_TYPE_MAX_DEPTH: Final = 16  # of a provider's type; an invoice with its items has 6
WIT_TYPE_MAX_COUNT: Final = 1_024  # parts of one, written out: records within records multiply
PROVIDER_CALL_MAX_S: Final = 30  # one answer; less when the execution has less left
PROVIDER_REQUEST_MAX_BYTES: Final = 2 * MIB  # of JSON: a document in base64, or thousands of items
PROVIDER_ANSWER_MAX_BYTES: Final = 2 * MIB  # likewise
UI_PROXY_ROUTE_MAX_CHARS: Final = 2_048  # of a route; with the base URL it stays below URL_MAX_BYTES
UI_PROXY_REQUEST_MAX_BYTES: Final = 2 * MIB  # of a payload: what a provider is sent at most
UI_PROXY_ANSWER_MAX_BYTES: Final = 5 * MIB  # of an answer's body, unpacked; a report or a page of a large table
PROVIDER_VALUES_MAX_COUNT: Final = 250_000  # fields, absent ones too, and items of either: 60 MiB, 0.1 s of a worker

# ---- what guests measure ------------------------------------------------------------------------------------
METRICS_SERIES_MAX_COUNT: Final = 50  # of one install in one worker; a histogram with its buckets is one
METRICS_NAME_MAX_CHARS: Final = 64  # of a metric or a label: what a chart's legend can show
METRICS_LABELS_MAX_COUNT: Final = 8  # of one series
METRICS_LABEL_VALUE_MAX_BYTES: Final = 64  # a region, a status; never a sentence or somebody's address
METRICS_WORKER_SERIES_MAX_COUNT: Final = 5_000  # of one worker: a hundred installs that use all of theirs
METRICS_BOOK_MAX_BYTES: Final = 64 * MIB  # of one worker's file: 5,000 series four times over, names as long as may be
METRICS_IDLE_S: Final = 3_600  # an install without a sample for this long has no series any more
METRICS_WRITE_S: Final = 2  # how often a worker lets the others read its own; scrapers come every 15 s

# ---- between the runner and a sandbox -----------------------------------------------------------------------
FRAME_MAX_BYTES: Final = 12 * MIB  # one body of 10 MiB with its headers, raw
LIFTED_MAX_BYTES: Final = FRAME_MAX_BYTES  # of one value a guest hands over, a list item being 32: more fits no frame
LIFTED_LIST_MAX_COUNT: Final = 100_000  # items of one list of anything but bytes; an item costs 200 bytes of Python
HOST_CALLS_MAX: Final = 10_000  # awaited host calls in one execution; far above any honest guest

# ---- queues and processes -----------------------------------------------------------------------------------
TENANT_QUEUE_MAX: Final = 64  # waiting calls of one tenant in one worker; beyond: 429
QUEUE_MAX: Final = 1_024  # waiting calls of one worker; beyond: 503
SANDBOX_IDLE_MAX: Final = 512  # bound, idle processes kept by one runner at 3–4 MiB each: 2 GiB of a node
SANDBOX_CALLS_MAX: Final = 5_000  # then recycled: leaks of the C API stay bounded
SANDBOX_RSS_MAX_BYTES: Final = 1 * GIB  # a guest's 256 MiB, and a 10 MiB body as 32-byte values in two copies: 640 MiB
SANDBOX_WATCH_MS: Final = 100  # how often running sandboxes are measured; in that time one cannot fault in 1 GiB
SANDBOX_DEATHS_BURST_MAX_COUNT: Final = 10  # sandboxes one install may lose at once: a bad release shows itself first
SANDBOX_DEATH_REFILL_S: Final = 2  # one more is allowed after this; 19 deaths a second cost others 6 ms, a half nothing
SANDBOX_DEATHS_DEBT_MAX_COUNT: Final = 20  # by calls under way when the burst was used up; paid off within 40 s
SANDBOX_VIOLATION_REPEAT_S: Final = 3_600  # a second broken rule of an install within this is an attack, not a fault
SANDBOX_SPARES: Final = 1  # forked unbound, so that a new tenant pays no fork

# ---- bundles ------------------------------------------------------------------------------------------------
BUNDLE_MAX_BYTES: Final = 200 * MIB  # compressed
BUNDLE_UNPACKED_MAX_BYTES: Final = 512 * MIB  # what a node unpacks before it gives up
BUNDLE_MAX_FILES: Final = 10_000  # a large single-page application has about 2,000
BUNDLE_FILE_MAX_BYTES: Final = 64 * MIB  # one asset
COMPONENT_MAX_BYTES: Final = 128 * MIB  # seven times componentize-py's
BUNDLE_NAME_PART_MAX_BYTES: Final = 255  # NAME_MAX of every file system we write to
BUNDLE_NAME_MAX_BYTES: Final = 1_024  # a whole path; a quarter of PATH_MAX, so that a cache root fits before it
ZSTD_WINDOW_MAX_BYTES: Final = 128 * MIB  # memory a decompressor must set aside
ZSTD_RATIO_MAX: Final = 200  # text compresses 10×, zeros 10,000×
MANIFEST_MAX_BYTES: Final = 1 * MIB  # the largest useful one is 50 KiB
MANIFEST_MAX_DEPTH: Final = 16  # nesting; our own structs need 6
MANIFEST_LIST_MAX_COUNT: Final = 256  # endpoints, hosts, secrets, topics: a person must be able to read the consent
MANIFEST_TEXT_MAX_CHARS: Final = 4_000  # a description, a reason
MANIFEST_VIOLATIONS_MAX_COUNT: Final = 100  # reported at once; then "and more"
BUNDLE_TAR_PADDING_MAX_BYTES: Final = 20 * KIB  # zeros behind the end mark: tar programs fill 10 KiB records
ZSTD_RATIO_FREE_BYTES: Final = 1 * MIB  # unpacked; below it no ratio can hurt, and a few empty files exceed 200
ZSTD_BLOCKS_MAX_COUNT: Final = 131_072  # 512 MiB in full blocks are 4,096; an empty one costs 3 bytes and our time
SIGNATURE_MAX_BYTES: Final = 64 * KIB  # a DSSE envelope with dozens of signatures
TRUST_MAX_BYTES: Final = 1 * MIB  # SIGNING_TRUST_BUNDLE: some thousand keys
WIT_JSON_MAX_BYTES: Final = 16 * MIB  # the interface of a component as JSON; componentize-py's has 0.1 MiB
WASM_SKELETON_MAX_BYTES: Final = 32 * MIB  # a component as text without function bodies; componentize-py's has 2 MiB

# ---- building guests ----------------------------------------------------------------------------------------
BUILD_MAX_S: Final = 300  # componentize-js takes 28 s on two busy cores; ten times that is a hang
BUILD_OUTPUT_TAIL_BYTES: Final = 8 * KIB  # of a failed toolchain's output: the message and the stack below it
TOOL_VERSION_MAX_S: Final = 10  # a program that only has to say its version
NPM_INSTALL_MAX_S: Final = 600  # 60 MiB of toolchain over a slow line

# ---- the command line ---------------------------------------------------------------------------------------
CLI_CALL_MAX_S: Final = 130  # one request; a finalize waits FINALIZE_WAIT_MAX_S for the compiler
CLI_CONNECT_MAX_S: Final = 10  # then the address is wrong or the gateway is down
CLI_ANSWER_MAX_BYTES: Final = 64 * MIB  # what a command holds of one answer; a guest's has at most 10 MiB
CLI_PREPARE_MAX_S: Final = 300  # how long `publish` follows a version: two compilations in a queue
CLI_LOGS_QUIET_S: Final = 2  # without -f, `logs` ends after this much silence: the replay came at once
CLI_LOGS_SILENT_MAX_S: Final = 45  # three heartbeats missed: the connection is dead, whatever TCP believes
CLI_RECONNECT_MAX_S: Final = 30  # the longest pause between two attempts to reach the stream again
SSE_EVENT_MAX_BYTES: Final = 1 * MIB  # one event of a stream; ours have at most LOG_EVENT_MAX_BYTES of message

# ---- assets, caches, feeds ----------------------------------------------------------------------------------
NEGATIVE_CACHE_S: Final = 5  # a missing digest is asked for at most this often
INSTALL_CACHE_S: Final = 5  # a resolved install
INSTALL_STALE_MAX_S: Final = 60  # how long EXT_AUDIT_MODE=best-effort serves what it knew while PostgreSQL is away
INSTALL_CACHE_MAX_COUNT: Final = 10_000  # entries of one gateway process, about 4 KiB each
INSTALL_NEGATIVE_CACHE_S: Final = 1  # who has just installed something tries it at once
STATE_POLL_S: Final = 1  # a revocation must act everywhere within 5 s
STATE_SILENT_S: Final = 30  # then EXT_STALE_MODE decides
TRUST_POLL_S: Final = 1  # how often a service reads its trust file; who adds a key tries it at once
UI_LOOKUPS_PER_S: Final = 20  # unknown digests asked of the gateway by one runner
PREPARE_MAX_S: Final = 120  # one preparation, from its turn to its answer; and how long a caller waits for one
COMPILE_CPU_MAX_S: Final = 100  # of one compilation: below the wall, so a slow component is told from a slow machine
COMPILE_MEMORY_MAX_BYTES: Final = 4 * GIB  # resident, of one compilation; ten times what componentize-py's 18 MiB need
COMPILE_WATCH_MS: Final = 50  # how often it is measured; in that time it faults in about 100 MiB
COMPILES_WAITING_MAX: Final = 32  # preparations waiting for their turn; at 3-30 s each the last waits minutes
COMPILE_RETRY_MAX_S: Final = 60  # the longest Retry-After a busy compiler gives
WASM_TOOLS_MEMORY_MAX_BYTES: Final = 2 * GIB  # of one inspection; componentize-py's 18 MiB need 0.03
COLD_FETCHES_MAX: Final = 16  # artefacts one worker downloads at once, 10 MiB each and 35 unpacked
PRECOMPILE_ATTEMPTS_MAX: Final = 3  # for each digest, when the store or the machine was at fault
CACHE_MAX_BYTES: Final = 10 * GIB  # EXT_CACHE_MAX_BYTES: a node's disk, not its tenants, decides
AUDIT_CLOSE_MAX_MS: Final = 1_000  # closing rows are written behind the answer, at most this late
IFRAME_SESSION_MAX_S: Final = 600  # then the page asks for another; a stolen one is worth ten minutes
CONSOLE_SESSION_MAX_S: Final = 28_800  # a sign-in to the console: a working day; ends earlier with its credential
CONSOLE_FORM_MAX_BYTES: Final = 64 * KIB  # a form of the console: a credential of JWT_MAX_BYTES, percent-encoded

# ---- the live debug stream ----------------------------------------------------------------------------------
DEBUG_STREAM_MAX_COUNT: Final = 2_000  # RUNNER_DEBUG_REDIS_MAXLEN: what a person can look through afterwards
DEBUG_BUFFER_MAX_BYTES: Final = 8 * MIB  # of one runner, all workers; with overhead a hung Redis costs < 32 MiB
DEBUG_LANES_MAX: Final = 4_096  # streams one worker keeps count of, about 400 bytes each
DEBUG_BATCH_MAX_COUNT: Final = 128  # entries of one pipeline: a round trip's worth of a busy runner
DEBUG_BATCH_MAX_BYTES: Final = 256 * KIB  # of one pipeline; keeps a write far below its deadline
DEBUG_HOST_EVENTS_MAX: Final = 500  # host calls one execution reports; a guest may make twenty times as many
DEBUG_WRITE_MAX_S: Final = 2  # one pipeline; then Redis counts as away
DEBUG_RETRY_MAX_S: Final = 2  # longest pause before Redis is tried again
DEBUG_FLUSH_MAX_S: Final = 2  # at the end of a runner; the supervisor allows 3 s beyond the drain
DEBUG_LOST_GRACE_S: Final = 3  # past its deadline an execution's end is written; then it counts as lost
DEBUG_READ_BLOCK_MS: Final = 1_000  # one wait for news; an idle stream costs a command a second
DEBUG_READ_MAX_S: Final = 4  # then Redis counts as away; longer than one wait
DEBUG_READ_MAX_COUNT: Final = 256  # entries read at once: 2 MiB when every message is as long as it may be
DEBUG_TAIL_MAX_COUNT: Final = 2_000  # EXT_DEBUG_SSE_TAIL_COUNT cannot replay more than a stream keeps
DEBUG_TAIL_COUNT: Final = 200  # EXT_DEBUG_SSE_TAIL_COUNT: some screens
DEBUG_VIEWERS_PER_TENANT_MAX: Final = 20  # at one gateway; a team with a console each (threat T58)
DEBUG_VIEWERS_MAX: Final = 1_000  # at one gateway: with full queues 64 MiB at most, since entries are shared
DEBUG_FEEDS_MAX: Final = 256  # streams one gateway follows at once; each waits on a connection of its own
DEBUG_QUEUE_MAX_COUNT: Final = 512  # entries waiting for one viewer; beyond, it reads again from Redis when it can
DEBUG_TRACKED_MAX: Final = 1_000  # writers and open executions one viewer keeps an eye on
DEBUG_SESSION_MAX_S: Final = 1_800  # then the viewer is asked to come again, which checks everything anew
DEBUG_RECHECK_S: Final = 60  # how long a withdrawn credential may still watch
DEBUG_HEARTBEAT_S: Final = 15  # below every common proxy's idle time
DEBUG_RETRY_MS: Final = 2_000  # what a viewer is told to wait before it comes again
DEBUG_SEND_MAX_S: Final = 30  # a viewer that takes nothing for this long is gone

# ---- the gateway's stores -----------------------------------------------------------------------------------
STORE_POOL_MAX: Final = 16  # connections of one gateway to each login; four gateways fit max_connections = 150
STORE_WAIT_MAX_MS: Final = 1_000  # for a free connection; beyond: 503, never a hang
STORE_WAITING_MAX: Final = 256  # requests waiting for a connection at once; beyond: 503 at once
STORE_STATEMENT_MAX_MS: Final = 1_500  # asked of the server, for one statement
STORE_TRANSACTION_MAX_MS: Final = 2_000  # then the socket is cut, whatever the server does (fault F17)
OBJECT_CONNECT_MAX_S: Final = 2  # a black hole is told from a slow store (fault F06)
OBJECT_CALL_MAX_S: Final = 20  # one small call, retries included
OBJECT_COPY_MAX_S: Final = 60  # 200 MiB inside the store
UPLOAD_MAX_S: Final = 600  # 200 MiB at 3 Mbit/s
UPLOAD_PART_BYTES: Final = 8 * MIB  # S3 asks for at least 5 MiB; one part is held in memory
UPLOAD_KEPT_S: Final = 86_400  # a staged upload nobody finalised
FINALIZE_WAIT_MAX_S: Final = 100  # then 202 and the caller follows the version; below common proxies' 120
PREPARE_LEASE_S: Final = 180  # one gateway prepares a version at a time; longer than one compilation
PREPARE_SWEEP_S: Final = 30  # how often versions left behind by a dead gateway are picked up
PREPARE_CONCURRENT_MAX: Final = 4  # preparations one gateway follows at once
PUBLISHER_PREPARING_MAX: Final = 2  # versions of one publisher under way; the compiler is shared
PUBLISHER_VERSIONS_PER_HOUR_MAX: Final = 20  # a busy release day; a loop is stopped
PUBLISHER_STORED_MAX_BYTES: Final = 5 * GIB  # about 500 versions with a large component
STATE_FEED_PAGE_MAX: Final = 1_000  # entries of one answer; a reader asks again at once
PAGE_DEFAULT: Final = 50  # items of a list
PAGE_MAX: Final = 200  # items of a list, when a caller asks for more
INSTALL_CONFIG_MAX_BYTES: Final = 64 * KIB  # settings of one install; they travel with every call
UNINSTALLED_KEPT_DAYS: Final = 30  # an install's data outlive it by this, so that a mistake can be undone
INSTALL_PURGE_S: Final = 3_600  # how often those are looked for whose time is over; hours late is on time
INSTALL_PURGES_MAX_COUNT: Final = 100  # installs of one question: a kilobyte or two
INSTALL_EXPORT_PAGE_MAX_COUNT: Final = 64  # records of one question: 4 MiB of values in memory at most
JWT_KEYS_MAX: Final = 16  # of a host application: a few generations; each is tried for a token without `kid`
JWT_MAX_BYTES: Final = 16 * KIB  # a session token with hundreds of permissions; fits the header block

assert GUEST_ANSWER_MAX_BYTES * 48 <= 128 * MIB < (GUEST_ANSWER_MAX_BYTES + 48) * 48
assert REQUEST_BODY_MAX_BYTES * 4 // 3 < WIRE_MAX_BYTES
assert REQUEST_BODY_MAX_BYTES < FRAME_MAX_BYTES
assert EGRESS_REQUEST_MAX_BYTES <= EGRESS_RESPONSE_MAX_BYTES < FRAME_MAX_BYTES - 2 * EGRESS_HEADER_BLOCK_MAX_BYTES
assert EGRESS_DNS_MAX_S < EGRESS_CALL_MAX_S <= TIMEOUT_MAX_MS // 1000
assert EGRESS_BUSY_MAX_MS < TIMEOUT_DEFAULT_MS
assert TIMEOUT_DEFAULT_MS <= TIMEOUT_MAX_MS < TOKEN_LIFETIME_MAX_S * 1000
assert GATEWAY_GRACE_MS + AUDIT_OPEN_MAX_MS + AUDIT_CLOSE_MAX_MS < EXECUTION_LOST_GRACE_S * 1000
assert TIMEOUT_MAX_MS // 1000 + EXECUTION_LOST_GRACE_S + EXECUTION_REAP_S < 60
assert MEMORY_DEFAULT_MB <= MEMORY_MAX_MB
assert TENANT_QUEUE_MAX <= QUEUE_MAX
assert BUNDLE_FILE_MAX_BYTES <= COMPONENT_MAX_BYTES <= BUNDLE_UNPACKED_MAX_BYTES
assert KILL_GRACE_MS < GATEWAY_GRACE_MS
assert STORE_STATEMENT_MAX_MS < STORE_TRANSACTION_MAX_MS
assert FINALIZE_WAIT_MAX_S < PREPARE_MAX_S < PREPARE_LEASE_S
assert COMPILE_CPU_MAX_S < PREPARE_MAX_S
assert FINALIZE_WAIT_MAX_S < CLI_CALL_MAX_S
assert RESPONSE_BODY_MAX_BYTES < CLI_ANSWER_MAX_BYTES
assert CLIENT_TAKES_NOTHING_MAX_MS <= DEBUG_SEND_MAX_S * 1000
assert DEBUG_READ_BLOCK_MS < DEBUG_READ_MAX_S * 1000
assert DEBUG_STREAM_MAX_COUNT < LOG_EXECUTION_MAX_COUNT  # whoever fills the stream has said enough
assert DEBUG_HOST_EVENTS_MAX <= DEBUG_STREAM_MAX_COUNT // 2  # host calls never push out all that a guest said
assert DEBUG_TAIL_COUNT <= DEBUG_TAIL_MAX_COUNT
assert 3 * DEBUG_HEARTBEAT_S <= CLI_LOGS_SILENT_MAX_S
assert SECRETS_MAX_COUNT * SECRET_VALUE_MAX_BYTES * 2 <= SECRETS_BODY_MAX_BYTES
assert 2 * SECRET_VALUE_MAX_BYTES < SECRET_SEALED_MAX_BYTES
assert (SECRETS_MAX_COUNT * SECRET_SEALED_MAX_BYTES + REQUEST_BODY_MAX_BYTES) * 4 // 3 < WIRE_MAX_BYTES
assert RESEAL_BATCH_MAX_COUNT * SECRET_SEALED_MAX_BYTES * 3 // 2 < RESEAL_BODY_MAX_BYTES
assert VAULT_CALL_MAX_S < RESEAL_CALL_MAX_S < TOKEN_LIFETIME_MAX_S
assert UPLOAD_PART_BYTES < BUNDLE_MAX_BYTES <= 10_000 * UPLOAD_PART_BYTES  # S3 takes 10,000 parts
assert STORAGE_PAGE_MAX_COUNT * (STORAGE_VALUE_MAX_BYTES + 4 * STORAGE_KEY_MAX_CHARS + 64) < FRAME_MAX_BYTES
assert STORAGE_VALUE_MAX_BYTES + STORAGE_METADATA_MAX_BYTES <= STORAGE_BULK_MAX_BYTES < STORAGE_BODY_MAX_BYTES
assert STORAGE_BODY_MAX_BYTES <= REQUEST_BODY_MAX_BYTES
assert STORAGE_TTL_MIN_S < STORAGE_TTL_MAX_S
assert PROVIDER_CALL_MAX_S <= TIMEOUT_MAX_MS // 1000
assert PROVIDER_ANSWER_MAX_BYTES // 2 * 9 + PROVIDER_VALUES_MAX_COUNT * 6 < FRAME_MAX_BYTES  # `1,` is nine bytes there
assert UI_PROXY_ROUTE_MAX_CHARS * 2 <= URL_MAX_BYTES
assert UI_PROXY_ANSWER_MAX_BYTES < FRAME_MAX_BYTES
assert STORAGE_TENANT_CALLS_MAX * 4 <= STORE_POOL_MAX
assert EVENT_INSTALL_DELIVERIES_MAX < EVENT_TENANT_DELIVERIES_MAX < EVENT_DELIVERIES_MAX
assert TIMEOUT_MAX_MS // 1000 + EXECUTION_LOST_GRACE_S < EVENT_LEASE_S  # a call has ended before another begins
assert EVENTS_BATCH_MAX_COUNT * EVENT_PAYLOAD_MAX_BYTES * 4 // 3 < EVENTS_BODY_MAX_BYTES <= REQUEST_BODY_MAX_BYTES
assert EVENT_KEPT_S > 60  # the rate of an install is counted from its events
assert SCHEDULE_FLOOR_S % 60 == 0
assert SCHEDULE_PAYLOAD_MAX_BYTES < SCHEDULE_BODY_MAX_BYTES
assert SCHEDULE_LATE_MAX_S <= SCHEDULE_FLOOR_S
assert 2 * (TIMEOUT_MAX_MS + GATEWAY_GRACE_MS) // 1000 < SCHEDULE_LEASE_S < SCHEDULE_FLOOR_S
assert SCHEDULES_MAX_COUNT * (SCHEDULE_PAYLOAD_MAX_BYTES + 4 * KIB) < FRAME_MAX_BYTES
assert SCHEDULE_TENANT_RUNS_MAX < SCHEDULE_RUNS_MAX < RUNNER_CONNECTIONS_MAX
assert (STORAGE_TENANT_CALLS_MAX + SCHEDULE_TENANT_CALLS_MAX) * 2 <= STORE_POOL_MAX
