"""Every refusal the platform can utter: one tree, each leaf with its code, HTTP status and blame.

    PlatformError
    ├── CallerError    the request is at fault
    │   ├── Unauthorized · Unauthenticated · InvalidSession · TenantMismatch · Forbidden
    │   ├── InvalidRequest · MissingRoutingHeaders · RoutingMismatch · UnknownCapabilities · InvalidPath
    │   ├── PayloadTooLarge · HeadersTooLarge · RequestTimeout · NotFound · MethodNotAllowed · BundleNotFound
    │   ├── NotInstalled · ExtensionDisabled · EndpointNotFound · AmbiguousExtension · VersionExists · Conflict
    │   ├── RateLimited · QuotaExceeded · TenantOverConcurrency
    │   ├── IdempotencyConflict · IdempotencyInProgress · IdempotencyAnswerNotKept
    │   ├── StorageRefused · its eight codes, in capitals as the host application's storage has them
    │   └── BundleRefused      what a publisher uploaded is not acceptable
    │       ├── BundleInvalid · BundleLimits · ManifestInvalid · ContentHashMismatch
    │       └── SignatureRefused · its seven codes
    ├── GuestError     the extension is at fault
    │   └── ComponentInvalid · GuestTimeout · GuestMemoryExceeded · GuestTrapped
    │       GuestResponseInvalid · GuestAborted · SandboxViolation · SecretHostMismatch · ExtensionSuspended
    └── HostError      the platform or something it needs is at fault
        └── BundleUntrusted · Revoked · BundleUnavailable · ArtefactUnavailable · SecretUnavailable
            SecretBindingMismatch · SecretExpired · CacheFull · Overloaded · AccessPolicyUnavailable
            ProviderMismatch · BadGateway · GatewayTimeout · Internal

The wire names are contracts (decision 0002): codes are added, never renamed. `by_code` turns a code that
arrived over the wire back into its class.
"""

from __future__ import annotations

from shared.error_base import Blame, CallerError, GuestError, HostError, PlatformError

__all__ = ["Blame", "CallerError", "GuestError", "HostError", "PlatformError"]  # and every refusal below

# ---- callers ------------------------------------------------------------------------------------------------


class Unauthorized(CallerError):
    code, status, title = "unauthorized", 401, "The token between the services was refused"


class Unauthenticated(CallerError):
    code, status, title = "unauthenticated", 401, "A credential is needed"


class InvalidSession(CallerError):
    code, status, title = "invalid_session", 401, "The credential is not valid"


class TenantMismatch(CallerError):
    code, status, title = "tenant_mismatch", 403, "The named tenant is not the credential's tenant"


class Forbidden(CallerError):
    code, status, title = "forbidden", 403, "The credential lacks a permission"


class InvalidRequest(CallerError):
    code, title = "invalid_request", "The request is not well formed"


class MissingRoutingHeaders(CallerError):
    code, title = "missing_routing_headers", "x-alga-tenant and x-alga-extension are required"


class RoutingMismatch(CallerError):
    code, title = "routing_mismatch", "The routing headers differ from the context"


class UnknownCapabilities(CallerError):
    code, title = "unknown_capabilities", "A capability is not known to this runner"


class InvalidPath(CallerError):
    code, title = "invalid_path", "The path is not acceptable"


class PayloadTooLarge(CallerError):
    code, status, title = "payload_too_large", 413, "The body is larger than the limit"


class HeadersTooLarge(CallerError):
    code, status, title = "headers_too_large", 431, "The header block is larger than the limit"


class RequestTimeout(CallerError):
    code, status, title = "request_timeout", 408, "The request did not arrive in time"


class NotFound(CallerError):
    code, status, title = "not_found", 404, "There is nothing here"


class MethodNotAllowed(CallerError):
    code, status, title = "method_not_allowed", 405, "The method is not offered here"


class BundleNotFound(CallerError):
    code, status, title = "bundle_not_found", 404, "No bundle with this digest is stored"


class NotInstalled(CallerError):
    code, status, title = "not_installed", 404, "No such extension is installed here"


class ExtensionDisabled(CallerError):
    code, status, title = "extension_disabled", 404, "The extension is disabled"


class EndpointNotFound(CallerError):
    code, status, title = "endpoint_not_found", 404, "The extension declares no such endpoint"


class AmbiguousExtension(CallerError):
    code, status, title = "ambiguous_extension", 409, "The name fits more than one install"


class VersionExists(CallerError):
    code, status, title = "version_exists", 409, "This version was published with other bytes"


class Conflict(CallerError):
    code, status, title = "conflict", 409, "The state does not allow this"


class RateLimited(CallerError):
    code, status, title = "rate_limited", 429, "Too many requests"


class QuotaExceeded(CallerError):
    code, status, title = "quota_exceeded", 429, "A quota is used up"


class TenantOverConcurrency(CallerError):
    code, status, title = "tenant_over_concurrency", 429, "The tenant has too many calls under way"


class IdempotencyConflict(CallerError):
    code, status, title = "idempotency_conflict", 409, "The idempotency key was used for another body"


class IdempotencyInProgress(CallerError):
    code, status, title = "idempotency_in_progress", 409, "A call with this idempotency key is under way"


class IdempotencyAnswerNotKept(CallerError):
    code, status, title = "idempotency_answer_not_kept", 409, "The call was made, and its answer was too large to keep"


class StorageRefused(CallerError):
    """What a caller asked of an install's records cannot be done."""


class StorageValidationFailed(StorageRefused):
    code, title = "VALIDATION_FAILED", "The storage request is not well formed"


class StorageLimitExceeded(StorageRefused):
    code, title = "LIMIT_EXCEEDED", "A value, a bulk or a time is beyond the limit"


class StorageUnauthorized(StorageRefused):
    code, status, title = "UNAUTHORIZED", 401, "A valid credential is needed for storage"


class StorageNamespaceDenied(StorageRefused):
    code, status, title = "NAMESPACE_DENIED", 403, "The caller may not use this install's storage"


class StorageNotFound(StorageRefused):
    code, status, title = "NOT_FOUND", 404, "There is no such record"


class StorageRevisionMismatch(StorageRefused):
    code, status, title = "REVISION_MISMATCH", 409, "The record has another revision"


class StorageQuotaExceeded(StorageRefused):
    code, status, title = "QUOTA_EXCEEDED", 429, "The install's storage is full"


class StorageRateLimited(StorageRefused):
    code, status, title = "RATE_LIMITED", 429, "Too many storage requests"


# ---- publishers ---------------------------------------------------------------------------------------------


class BundleRefused(CallerError):
    """An upload that cannot be published. `extra` may carry `path` (JSON path or archive member)."""

    status = 422


class BundleInvalid(BundleRefused):
    code, title = "bundle_invalid", "The archive is not a valid bundle"


class BundleLimits(BundleRefused):
    code, title = "bundle_limits", "The archive exceeds a limit"


class ManifestInvalid(BundleRefused):
    code, title = "manifest_invalid", "The manifest is not valid"


class ContentHashMismatch(BundleRefused):
    code, title = "content_hash_mismatch", "The bytes do not have the digest they were announced with"


class SignatureRefused(BundleRefused):
    """A signature that does not vouch for the bundle."""


class SignatureMissing(SignatureRefused):
    code, title = "signature_missing", "The bundle carries no signature"


class SignatureInvalid(SignatureRefused):
    code, title = "signature_invalid", "The signature does not fit the bytes"


class SignatureUntrustedKey(SignatureRefused):
    code, title = "signature_untrusted_key", "The signing key is not trusted here"


class SignatureKeyExpired(SignatureRefused):
    code, title = "signature_key_expired", "The signing key is outside its time of validity"


class SignatureKeyRevoked(SignatureRefused):
    code, title = "signature_key_revoked", "The signing key was revoked"


class SignaturePublisherMismatch(SignatureRefused):
    code, title = "signature_publisher_mismatch", "The key may not sign for this publisher"


class SignatureThreshold(SignatureRefused):
    code, title = "signature_threshold", "Fewer trusted signatures than the trust bundle asks for"


# ---- guests -------------------------------------------------------------------------------------------------


class ComponentInvalid(GuestError):
    code, status, title = "component_invalid", 422, "The component does not fit the platform's world"
    ran = False


class GuestTimeout(GuestError):
    code, status, title = "guest_timeout", 504, "The extension did not answer in time"


class GuestMemoryExceeded(GuestError):
    code, title = "guest_memory_exceeded", "The extension used more memory than it may"


class GuestTrapped(GuestError):
    code, title = "guest_trapped", "The extension stopped with a fault of its own"


class GuestResponseInvalid(GuestError):
    code, title = "guest_response_invalid", "The extension's answer cannot be passed on"


class GuestAborted(GuestError):
    code, title = "guest_aborted", "The process that ran the extension died"


class SandboxViolation(GuestError):
    code, title = "sandbox_violation", "The extension tried what the sandbox forbids"


class ExtensionSuspended(GuestError):
    code, status, title = "extension_suspended", 503, "The extension failed too often and rests for a moment"
    ran = False


class SecretHostMismatch(GuestError):
    code, title = "secret_host_mismatch", "The secret is not for this host"


# ---- the platform -------------------------------------------------------------------------------------------


class BundleUntrusted(HostError):
    code, status, title = "bundle_untrusted", 502, "The stored bundle failed its digest or signature check"


class Revoked(HostError):
    code, status, title = "revoked", 403, "This version was revoked"


class BundleUnavailable(HostError):
    code, title = "bundle_unavailable", "The bundle store does not answer"


class ArtefactUnavailable(HostError):
    code, title = "artefact_unavailable", "The compiled artefact cannot be had right now"


class SecretUnavailable(HostError):
    code, status, title = "secret_unavailable", 502, "A secret cannot be opened here"


class SecretBindingMismatch(HostError):
    code, status, title = "secret_binding_mismatch", 502, "A secret belongs to somebody else"


class SecretExpired(HostError):
    code, status, title = "secret_expired", 502, "A secret is past its time"


class CacheFull(HostError):
    code, title = "cache_full", "There is no room for another bundle"


class Overloaded(HostError):
    code, title = "overloaded", "Too much is under way"


class AccessPolicyUnavailable(HostError):
    code, title = "access_policy_unavailable", "Whether this is allowed cannot be checked right now"


class ProviderMismatch(HostError):
    code, title = "provider_mismatch", "Gateway and runner know a service of the host application differently"


class BadGateway(HostError):
    code, status, title = "bad_gateway", 502, "The runner gave no usable answer"


class GatewayTimeout(HostError):
    code, status, title = "gateway_timeout", 504, "The runner did not answer in time"


class Internal(HostError):
    code, status, title = "internal", 500, "Something failed inside the platform"


def _leaves(cls: type[PlatformError]) -> dict[str, type[PlatformError]]:
    found = {sub.code: sub for sub in cls.__subclasses__() if "code" in vars(sub)}
    for sub in cls.__subclasses__():
        found |= _leaves(sub)
    return found


BY_CODE: dict[str, type[PlatformError]] = _leaves(PlatformError)


def by_code(code: str) -> type[PlatformError]:
    """The class for a wire code; `Internal` for a code this release does not know."""
    return BY_CODE.get(code, Internal)
