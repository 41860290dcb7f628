"""What to do about each error code: the user at the screen, the operator of the platform, the author of the extension.

The CLI prints it, the console shows it, and the table in `shared/README.md` is generated from it; a test keeps one
entry for each code. An empty sentence means that this person need not do anything.
"""

from __future__ import annotations

from typing import Final

import msgspec

from shared.errors import by_code


class Advice(msgspec.Struct, frozen=True):
    """One sentence for each person; empty where nothing is to be done."""

    user: str
    operator: str
    author: str


_SIGN_IN: Final = "Sign in again."
_RETRY: Final = "Try again in a moment."
_ASK_ADMIN: Final = "Ask your administrator."
_REPORT: Final = "Tell your administrator, with the request id."
_READ_STREAM: Final = "Open the debug stream for this request id."
_SIGN_AGAIN: Final = "Sign the very file you upload and send its envelope."

ADVICE: Final[dict[str, Advice]] = {
    "LIMIT_EXCEEDED": Advice("", "", "Store less at once; the detail names the limit."),
    "NAMESPACE_DENIED": Advice(_ASK_ADMIN, "Grant what the detail names.", "Declare `cap:storage.kv` in the manifest."),
    "NOT_FOUND": Advice("", "", "Write the record first; one past its time is gone."),
    "QUOTA_EXCEEDED": Advice(_ASK_ADMIN, "", "Delete records, or let them expire; the detail names the quota."),
    "RATE_LIMITED": Advice(_RETRY, "", "Slow down; `Retry-After` says for how long."),
    "REVISION_MISMATCH": Advice(
        "Load the page again and repeat.", "", "Read the record, then write over its revision."
    ),
    "UNAUTHORIZED": Advice(_SIGN_IN, "", "Send a session token or an API key of the tenant."),
    "VALIDATION_FAILED": Advice("", "", "Correct what the detail names."),
    "access_policy_unavailable": Advice(
        _RETRY, "Bring PostgreSQL back; calls are refused while none can be recorded.", ""
    ),
    "ambiguous_extension": Advice(
        _ASK_ADMIN, "", "Call by install id or `publisher.name`; the bare name fits several."
    ),
    "artefact_unavailable": Advice(_RETRY, "Check that the compiler role is up and may write under `aot/`.", ""),
    "bad_gateway": Advice(_RETRY, "Look for the request id in the runner's log; the gateway got no usable answer.", ""),
    "bundle_invalid": Advice("", "", "Pack again with `alga-ext pack`; the detail names the archive member."),
    "bundle_limits": Advice("", "", "Make the bundle smaller; the detail names the limit and the member."),
    "bundle_not_found": Advice(_REPORT, "The install names a digest the store lacks: restore it or roll back.", ""),
    "bundle_unavailable": Advice(_RETRY, "Check the object store and the credentials of the runner.", ""),
    "bundle_untrusted": Advice(
        _REPORT, "Treat as tampering: stored bytes fail their digest or signature. Compare with the registry.", ""
    ),
    "cache_full": Advice(_RETRY, "Raise `EXT_CACHE_MAX_BYTES` or add runners.", ""),
    "component_invalid": Advice(
        _REPORT, "", "Build against `shared/wit`; the detail names the import or export that is wrong."
    ),
    "conflict": Advice("Load the page again and repeat.", "", "Read the current state, then decide again."),
    "content_hash_mismatch": Advice("", "", "Upload again; the bytes are not those of the announced digest."),
    "endpoint_not_found": Advice(_REPORT, "", "Declare the method and path under `api.endpoints` in the manifest."),
    "extension_disabled": Advice(_ASK_ADMIN, "Enable the install, or lift the brake that stopped it.", ""),
    "extension_suspended": Advice(
        "Try again when `Retry-After` says.",
        "",
        "Find out why its process dies: the debug stream says so for each call.",
    ),
    "forbidden": Advice(_ASK_ADMIN, "Grant the permission the detail names.", ""),
    "gateway_timeout": Advice(_RETRY, "The runner kept silent past the guest's deadline: look at its load.", ""),
    "guest_aborted": Advice(_RETRY, "", f"The sandbox process died. {_READ_STREAM}"),
    "guest_memory_exceeded": Advice(_REPORT, "", "Use less memory, or ask for more in `limits.memoryMb`."),
    "guest_response_invalid": Advice(_REPORT, "", "Answer with a status from 200 to 599 and plain header text."),
    "guest_timeout": Advice(_RETRY, "", "Answer sooner, or ask for more in `limits.timeoutMs`."),
    "guest_trapped": Advice(
        _REPORT, "", f"The code stopped with a fault; name and backtrace are there. {_READ_STREAM}"
    ),
    "headers_too_large": Advice("Delete this site's cookies and try again.", "", "Send fewer or shorter headers."),
    "idempotency_answer_not_kept": Advice(
        "The first attempt was made; look for its result.", "", "Answer with less than 256 KiB, or look the result up."
    ),
    "idempotency_conflict": Advice("", "", "Use a new `x-idempotency-key` for every new operation."),
    "idempotency_in_progress": Advice(_RETRY, "", "Wait for the first attempt, then repeat with the same key."),
    "internal": Advice(_REPORT, "A defect of the platform: look for the request id in the log and report it.", ""),
    "invalid_path": Advice("", "", "Send a path without encoded separators, `..` or control characters."),
    "invalid_request": Advice("", "", "Correct what the detail names; the same request fails again."),
    "invalid_session": Advice(_SIGN_IN, "If it concerns everybody, check `GATEWAY_JWT_KEYS`, audience and clock.", ""),
    "manifest_invalid": Advice("", "", "Run `alga-ext check`; every violation is listed with its path."),
    "method_not_allowed": Advice("", "", "Use one of the methods in the `Allow` header."),
    "missing_routing_headers": Advice(
        "", "", "Send `x-alga-tenant` and `x-alga-extension` with the call to the runner."
    ),
    "not_found": Advice("Check the address.", "", "Check the path and the id."),
    "not_installed": Advice(_ASK_ADMIN, "Install the extension for this tenant.", ""),
    "overloaded": Advice(_RETRY, "Add runners; the queue of this one is full.", ""),
    "payload_too_large": Advice("Send less at once.", "", "Stay within the limit the detail names, or split the data."),
    "provider_mismatch": Advice(
        _RETRY,
        "Give gateway, compiler and runners the same `EXT_PROVIDERS_DIR`, then restart what has the old one.",
        "",
    ),
    "quota_exceeded": Advice(
        _ASK_ADMIN, "Raise the quota, or wait until its period ends.", "Use less of what is counted."
    ),
    "rate_limited": Advice(
        "Wait as long as `Retry-After` says.", "Raise the rate if the use is honest.", "Honour `Retry-After`."
    ),
    "request_timeout": Advice("Check your connection and try again.", "", "Send the whole request without pauses."),
    "revoked": Advice(
        _ASK_ADMIN, "Upgrade or roll back: this version or its key was revoked.", "Publish a new version."
    ),
    "routing_mismatch": Advice("", "", "Send routing headers that equal the context of the body."),
    "sandbox_violation": Advice(
        _REPORT,
        "Treat as an attack: stop the extension with a brake and keep its bundle.",
        "The code tried a forbidden system call.",
    ),
    "secret_binding_mismatch": Advice(
        _REPORT,
        "Treat as tampering: a row holds another owner's box. Enter the secret again, look who wrote the row.",
        "",
    ),
    "secret_expired": Advice(_ASK_ADMIN, "Enter the secret again, with a later end.", ""),
    "secret_host_mismatch": Advice(
        _REPORT, "Bind the secret to that host as well, if it is meant.", "Send a secret to the hosts it names only."
    ),
    "secret_unavailable": Advice(
        _REPORT, "Give the runner the sealing key the record names, or enter the secret again.", ""
    ),
    "signature_invalid": Advice("", "", _SIGN_AGAIN),
    "signature_key_expired": Advice(
        "", "Extend the key's validity, or trust its successor.", "Sign with a current key."
    ),
    "signature_key_revoked": Advice("", "", "Sign with another key; this one was revoked."),
    "signature_missing": Advice("", "", "Sign the bundle with `alga-ext sign`."),
    "signature_publisher_mismatch": Advice(
        "", "Allow the key for this publisher, if it is theirs.", "Sign with the publisher's key."
    ),
    "signature_threshold": Advice("", "", "Collect as many trusted signatures as the trust bundle asks for."),
    "signature_untrusted_key": Advice(
        "", "Add the publisher's key to `SIGNING_TRUST_BUNDLE`.", "Have your public key trusted."
    ),
    "tenant_mismatch": Advice(
        "Switch to the tenant you are signed in to.", "", "Send no tenant header; the credential says it."
    ),
    "tenant_over_concurrency": Advice(
        _RETRY, "Raise the tenant's concurrency if the use is honest.", "Call less at once."
    ),
    "unauthenticated": Advice(_SIGN_IN, "", "Send a bearer token or an API key."),
    "unauthorized": Advice("", "Check `RUNNER_GATEWAY_KEYS` and the clocks of gateway and runner.", ""),
    "unknown_capabilities": Advice(
        "",
        "Bring the runner to the gateway's release, and give both the same `EXT_PROVIDERS_DIR`.",
        "Use names the host API documents.",
    ),
    "version_exists": Advice("", "", "Raise the version; a published one never changes."),
}


def advice(code: str) -> Advice:
    """What to do about a code; for one that this release does not know, what to do about an internal error."""
    return ADVICE.get(code, ADVICE[by_code(code).code])
