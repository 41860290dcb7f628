"""Provider files of an operator, as tests write them."""

from __future__ import annotations

from pathlib import Path

CRM_TOML = """\
# contacts of the customer relations system
capability = "cap:crm.read"
description = "reads contacts"
case = "snake"
denied = "not-allowed"
"""

CRM_WIT = """\
package alga:extension;

interface types {
    enum crm-error { not-allowed, not-found, conflict, internal }
    record contact { contact-id: string, display-name: string, score: option<u64>, tags: list<string> }
}

interface crm {
    use types.{contact, crm-error};

    find-contacts: func(text: string, at-most: u32) -> result<list<contact>, crm-error>;
    get-contact: func(contact-id: string) -> result<option<contact>, crm-error>;
    forget: func(contact-id: string) -> result<_, crm-error>;
}
"""


def provider_files(folder: Path, name: str = "crm", toml: str = CRM_TOML, wit: str = CRM_WIT) -> Path:
    """A directory with one provider, or one more."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(toml, encoding="utf-8")
    (folder / f"{name}.wit").write_text(wit, encoding="utf-8")
    return folder
