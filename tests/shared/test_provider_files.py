"""Provider files: what an operator may declare, and what is refused with its file and line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.capabilities import INTERFACES, KNOWN
from shared.limits import PROVIDER_FILE_MAX_BYTES, PROVIDER_FUNCTIONS_MAX_COUNT, PROVIDERS_MAX_COUNT, WIT_TYPE_MAX_DEPTH
from shared.provider import Denial
from shared.provider_files import SHIPPED, ProviderFormatError, read_providers, shipped
from shared.wit_json import FieldCase
from shared.wit_parser import load_world
from shared.wit_types import Record
from tests.shared.provider_sources import CRM_TOML, CRM_WIT, provider_files

BILLING_WIT = """\
package alga:extension;
interface billing {
    record outcome { success: bool, error: option<string> }
    charge: func(cents: u64) -> outcome;
}
"""
BILLING_TOML = CRM_TOML.replace("crm.read", "billing.charge").replace("not-allowed", "success-false")


def reasons(folder: Path) -> str:
    with pytest.raises(ProviderFormatError) as refused:
        read_providers(str(folder))
    return str(refused.value)


# ---- what is there ------------------------------------------------------------------------------------------


def test_the_world_has_the_providers_behind_the_platforms_interfaces(tmp_path: Path) -> None:
    providers = read_providers(str(provider_files(tmp_path)))
    ours = load_world()
    assert providers.world.imports == (*ours.imports, "clients", "crm", "invoicing", "services")
    assert providers.world.exports == ours.exports
    for name in INTERFACES:
        assert providers.world.interfaces[name] == ours.interfaces[name]
    assert providers.interfaces == {**shipped().interfaces, "crm": "cap:crm.read"}
    assert providers.capabilities == shipped().capabilities | {"cap:crm.read"}
    assert providers.capabilities > KNOWN


def test_records_of_providers_stand_in_types_beside_the_platforms(tmp_path: Path) -> None:
    types = read_providers(str(provider_files(tmp_path))).world.interfaces["types"].types
    assert isinstance(types["contact"], Record)
    assert isinstance(types["client-summary"], Record)
    assert isinstance(types["http-request"], Record)


def test_a_provider_is_what_its_files_say(tmp_path: Path) -> None:
    crm = read_providers(str(provider_files(tmp_path))).get("crm")
    assert crm is not None
    assert (crm.capability, crm.description, crm.endpoint) == ("cap:crm.read", "reads contacts", "crm")
    assert (crm.case, crm.denied, crm.audience) == (FieldCase.SNAKE, Denial.NOT_ALLOWED, "provider:crm")
    assert [function.name for function in crm.interface.functions] == ["find-contacts", "get-contact", "forget"]
    assert crm.wit == CRM_WIT


def test_an_endpoint_may_be_shared(tmp_path: Path) -> None:
    provider_files(tmp_path, toml=CRM_TOML + 'endpoint = "clients"\n')
    crm = read_providers(str(tmp_path)).get("crm")
    assert crm is not None
    assert crm.endpoint == "clients"


def test_the_platforms_types_may_be_used(tmp_path: Path) -> None:
    wit = """\
package alga:extension;
interface crm {
    use types.{http-header};
    enum wrong { not-allowed, internal }
    send: func(headers: list<http-header>) -> result<_, wrong>;
}
"""
    assert read_providers(str(provider_files(tmp_path, wit=wit))).get("crm") is not None


def test_a_record_with_success_and_error_refuses_as_well(tmp_path: Path) -> None:
    provider_files(tmp_path, "billing", BILLING_TOML, BILLING_WIT)
    assert read_providers(str(tmp_path)).interfaces["billing"] == "cap:billing.charge"


def test_a_mounted_configuration_is_read_through_its_links(tmp_path: Path) -> None:
    hidden = provider_files(tmp_path / "mounted" / "..2026_01_01")
    for path in hidden.iterdir():
        (tmp_path / "mounted" / path.name).symlink_to(path)
    (tmp_path / "mounted" / "README.md").write_text("notes of people")
    assert read_providers(str(tmp_path / "mounted")).get("crm") is not None


def test_an_empty_directory_adds_nothing(tmp_path: Path) -> None:
    assert read_providers(str(tmp_path)).digests == shipped().digests


def test_what_is_granted_is_found_by_capability(tmp_path: Path) -> None:
    providers = read_providers(str(provider_files(tmp_path)))
    assert [one.name for one in providers.granted(("cap:crm.read", "cap:http.fetch", "cap:client.read"))] == [
        "clients",
        "crm",
    ]
    found = providers.of_capability("cap:crm.read")
    assert found is not None
    assert found.name == "crm"
    assert providers.of_capability("cap:http.fetch") is None


def test_the_example_of_the_readme_is_one(tmp_path: Path) -> None:
    readme = (SHIPPED / "README.md").read_text(encoding="utf-8")
    (toml,), (wit,) = (
        re.findall(rf"^```{kind}\n(.*?)^```", readme, re.MULTILINE | re.DOTALL) for kind in ("toml", "wit")
    )
    assert read_providers(str(provider_files(tmp_path, toml=toml, wit=wit))).interfaces["crm"] == "cap:crm.read"


# ---- what is refused ----------------------------------------------------------------------------------------

WRONG_TOML = [
    ('capability = "cap:crm.read', "crm.toml:6: "),
    (CRM_TOML.replace('case = "snake"', "case = snake"), "crm.toml:4: "),
    (CRM_TOML.replace('case = "snake"', 'case = "kebab"'), "crm.toml:4: case must be one of camel, snake"),
    (CRM_TOML.replace('denied = "not-allowed"', 'denied = "no"'), "crm.toml:5: denied must be one of"),
    (CRM_TOML.replace('denied = "not-allowed"', 'denied = ["denied"]'), "crm.toml:5: denied must be one of"),
    (CRM_TOML.replace("capability", "capabilities"), "crm.toml:2: capabilities is not a key; known are capability,"),
    (CRM_TOML + "[more]\nx = 1\n", "crm.toml:6: more is not a key"),
    (CRM_TOML.replace('case = "snake"\n', ""), "crm.toml:1: Object missing required field `case`"),
    (CRM_TOML.replace('"reads contacts"', "7"), "crm.toml:3: Expected `str`, got `int`"),
    (CRM_TOML.replace("reads contacts", " "), "crm.toml:3: description must be one line"),
    (CRM_TOML.replace("reads contacts", "reads\\ncontacts"), "crm.toml:3: description must be one line"),
    (CRM_TOML.replace("reads contacts", "r" * 201), "crm.toml:3: description must be one line"),
    (CRM_TOML.replace("cap:crm.read", "crm.read"), "crm.toml:2: capability must be a name such as cap:crm.read"),
    (CRM_TOML.replace("cap:crm.read", "cap:CRM.read"), "crm.toml:2: capability must be a name"),
    (CRM_TOML.replace("cap:crm.read", "cap:crm." + "r" * 93), "crm.toml:2: capability must be a name"),
    (CRM_TOML.replace("cap:crm.read", "cap:http.fetch"), "crm.toml:2: capability must open this provider alone"),
    (CRM_TOML.replace("cap:crm.read", "cap:context.read"), "crm.toml:2: capability must open this provider alone"),
    (CRM_TOML.replace("cap:crm.read", "cap:client.read"), "crm.toml:2: capability must open this provider alone"),
    (CRM_TOML + 'endpoint = "http://x"\n', "crm.toml:6: endpoint must be a name"),
]


@pytest.mark.parametrize(("toml", "says"), WRONG_TOML)
def test_a_wrong_description_is_refused_with_its_line(tmp_path: Path, toml: str, says: str) -> None:
    if toml.startswith("capability"):
        toml = "\n" * 5 + toml
    assert reasons(provider_files(tmp_path, toml=toml)).startswith(says)


WRONG_WIT = [
    (CRM_WIT.replace("interface crm", "interface crn"), "crm.wit:8: must write interface crm, and types, not"),
    (CRM_WIT.replace("interface crm {", "interface http {"), "crm.wit:8: must write interface crm, and types, not"),
    (CRM_WIT + "world w {\n}\n", "crm.wit:15: must write interface crm, and types, not world w"),
    ("package alga:extension;\n", "crm.wit:1: must write interface crm"),
    (CRM_WIT.replace("alga:extension", "crm:own"), "crm.wit:1: expected package alga:extension"),
    (CRM_WIT.replace("u32)", "integer)"), "crm.wit:11: expected a known type"),
    (CRM_WIT.replace("record contact", "variant contact"), "crm.wit:5: "),
    (CRM_WIT.replace("record contact", "flags contact"), "crm.wit:5: "),
    (CRM_WIT.replace("interface crm {", "interface crm {\n    resource r;"), "crm.wit:9: "),
    (CRM_WIT.replace("record contact", "record http-request"), "crm.wit:5: expected a name that is not taken"),
    (CRM_WIT.replace("record contact", "record client-summary"), "crm.wit:9: expected a type of types"),
    (CRM_WIT.replace("contact-id: string, display", "tags: string, display"), "crm.wit:5: expected a name that is not"),
    (CRM_WIT.replace("conflict, internal", "internal, internal"), "crm.wit:4: expected a name that is not taken"),
    (CRM_WIT.replace("forget:", "get-contact:"), "crm.wit:13: expected a name that is not taken"),
    (CRM_WIT.replace("text: string, at", "at-most: string, at"), "crm.wit:11: expected a name that is not taken"),
    (CRM_WIT.replace("forget:", "Forget:"), "crm.wit:13: expected a name in lower case"),
    (CRM_WIT.replace("not-allowed, not-found", "not-found"), "crm.wit:11: find-contacts must answer a result whose"),
    (CRM_WIT.replace("conflict, internal", "conflict"), "crm.wit:11: find-contacts must answer a result whose error"),
    (CRM_WIT.replace("not-allowed, not", "denied, not-allowed, not"), "crm.wit:11: find-contacts must answer a result"),
    (CRM_WIT.replace("result<_, crm-error>", "bool"), "crm.wit:13: forget must answer a result whose error is an enum"),
    (CRM_WIT.replace(" -> result<_, crm-error>", ""), "crm.wit:13: forget must answer a result"),
    (CRM_WIT.replace("result<_, crm-error>", "result<_, string>"), "crm.wit:13: forget must answer a result"),
    (CRM_WIT.replace("result<_, crm-error>", "result"), "crm.wit:13: forget must answer a result"),
    (CRM_WIT.replace("option<contact>", "option<option<contact>>"), "crm.wit:12: get-contact: an option of an option"),
    (
        CRM_WIT.replace("text: string", f"text: {'list<' * WIT_TYPE_MAX_DEPTH}string{'>' * WIT_TYPE_MAX_DEPTH}"),
        "crm.wit:11: find-contacts: types are nested at most",
    ),
    (CRM_WIT.replace("text: string", f"text: {'list<' * 9000}string{'>' * 9000}"), "crm.wit:1: types are nested too"),
    (CRM_WIT + "§", "crm.wit:15: unexpected '§'"),
    ("package alga:extension;\ninterface crm {\n}\n", "crm.wit:2: must have 1–64 functions"),
]


@pytest.mark.parametrize(("wit", "says"), WRONG_WIT)
def test_a_wrong_interface_is_refused_with_its_line(tmp_path: Path, wit: str, says: str) -> None:
    assert wit != CRM_WIT
    assert reasons(provider_files(tmp_path, wit=wit)).startswith(says)


def test_two_providers_that_write_the_same_type_are_refused_at_the_second(tmp_path: Path) -> None:
    wit = BILLING_WIT.replace(
        "interface billing {", "interface types { record client-summary { a: string } }\n\ninterface billing {"
    )
    # `billing` is read before the shipped `clients` would be: those always come first.
    assert reasons(provider_files(tmp_path, "billing", BILLING_TOML, wit)) == (
        "billing.wit:2: expected a name that is not taken, found 'client-summary'"
    )


def test_two_providers_with_one_capability_are_refused(tmp_path: Path) -> None:
    provider_files(tmp_path, "billing", BILLING_TOML, BILLING_WIT)
    provider_files(tmp_path, toml=CRM_TOML.replace("crm.read", "billing.charge"))
    assert reasons(tmp_path).startswith("crm.toml:2: capability must open this provider alone")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("http", "http is an interface of the platform"),
        ("types", "types is an interface of the platform"),
        ("ui-proxy", "ui-proxy is an interface of the platform"),
        ("clients", "clients is declared already"),
        ("Crm", "the file's name must be that of an interface"),
        ("crm_x", "the file's name must be that of an interface"),
        ("c" * 65, "the file's name must be that of an interface"),
    ],
)
def test_a_name_that_is_none_or_taken_is_refused(tmp_path: Path, name: str, says: str) -> None:
    wit = CRM_WIT.replace("interface crm", f"interface {name}")
    assert reasons(provider_files(tmp_path, name, wit=wit)).startswith(f"{name}.toml:1: {says}")


@pytest.mark.parametrize(("suffix", "missing"), [(".toml", ".wit"), (".wit", ".toml")])
def test_half_a_provider_is_refused(tmp_path: Path, suffix: str, missing: str) -> None:
    (provider_files(tmp_path) / f"crm{missing}").unlink()
    assert reasons(tmp_path) == f"crm{suffix}:1: crm{missing} must stand beside it"


@pytest.mark.parametrize("directory", ["absent", "file"])
def test_what_is_no_directory_is_refused(tmp_path: Path, directory: str) -> None:
    (tmp_path / "file").write_text("")
    assert "must be a readable directory" in reasons(tmp_path / directory)


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    (provider_files(tmp_path) / "crm.toml").write_bytes(b"a\nb\n\xff")
    assert reasons(tmp_path) == "crm.toml:3: must be UTF-8 text"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.sampled_from([".toml", ".wit"]),
    at=st.integers(0, len(CRM_WIT)),
    length=st.integers(0, 12),
    instead=st.text(st.sampled_from("abz-<>{}():;,.=_\"'#[]% \n\0é/"), max_size=6),
)
def test_whatever_stands_in_the_files_is_a_provider_or_a_typed_error(
    tmp_path: Path, text: str, at: int, length: int, instead: str
) -> None:
    sources = {".toml": CRM_TOML, ".wit": CRM_WIT}
    sources[text] = sources[text][:at] + instead + sources[text][at + length :]
    provider_files(tmp_path, toml=sources[".toml"], wit=sources[".wit"])
    try:
        assert read_providers(str(tmp_path)).get("crm") is not None
    except ProviderFormatError as error:
        assert re.match(r"crm\.(toml|wit):[0-9]+: .", str(error)), str(error)


# ---- limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_a_file_has_so_many_bytes_and_no_more(tmp_path: Path, surplus: int) -> None:
    padding = "#" * (PROVIDER_FILE_MAX_BYTES + surplus - len(CRM_TOML))
    provider_files(tmp_path, toml=CRM_TOML + padding)
    if surplus <= 0:
        assert read_providers(str(tmp_path)).get("crm") is not None
    else:
        assert reasons(tmp_path) == f"crm.toml:1: must have at most {PROVIDER_FILE_MAX_BYTES} bytes"


@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_an_interface_has_so_many_functions_and_no_more(tmp_path: Path, surplus: int) -> None:
    count = PROVIDER_FUNCTIONS_MAX_COUNT + surplus
    functions = "".join(f"    call-a{at}: func() -> result<_, crm-error>;\n" for at in range(count - 3))
    provider_files(tmp_path, wit=re.sub(r"\}\n\Z", functions + "}\n", CRM_WIT))
    if surplus <= 0:
        assert len(read_providers(str(tmp_path)).world.interfaces["crm"].functions) == count
    else:
        assert "must have 1–64 functions" in reasons(tmp_path)


@pytest.mark.parametrize("surplus", [0, 1])
def test_a_directory_has_so_many_providers_and_no_more(tmp_path: Path, surplus: int) -> None:
    for at in range(PROVIDERS_MAX_COUNT + surplus):
        toml = BILLING_TOML.replace("billing.charge", f"billing.a{at}")
        provider_files(
            tmp_path, f"billing-a{at}", toml, BILLING_WIT.replace("interface billing", f"interface billing-a{at}")
        )
    if surplus:
        assert f"at most {PROVIDERS_MAX_COUNT} providers" in reasons(tmp_path)
    else:
        assert len(list(read_providers(str(tmp_path)))) == PROVIDERS_MAX_COUNT + 3
