"""Both runtimes' storage for tests answer alike; that the Python one answers as the platform's is shown beside the
gateway's storage, with the real one on the other side.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Sequence
from typing import Any

from alga_extension import HostError, mock_host, mock_storage
from alga_extension.host import Storage

from gateway.cli.toolchains import find_node
from tests.runner.sdk.building import SDK

SEQUENCES, ASKS = 120, 30

NAMES = ["n", "n", "n", "m", "ä", "", "a/b", "a\0b", "n" * 128, "n" * 129, "\U0001f4be" * 128, "\U0001f4be" * 129]
KEYS = [
    "a",
    "b",
    "B",
    "ä",
    "Z\uffff",
    "Z\U00010000",
    "%",
    "..",
    "",
    "a/b",
    "k" * 256,
    "k" * 257,
    "\U0001f4be" * 256,
    "\0",
]
CURSORS = [None, "", "a", "a/b", "Z", "Z\uffff", "k" * 256, "k" * 257, "a\0"]
VALUES = ["", "00", "ff00", "78" * 65536, "78" * 65537]
REVISIONS = [None, None, 0, 1, 2, 3, 2**53 - 1]

RUN = f"""
import {{ readFileSync }} from 'node:fs';
import {{ createMockHostBindings }} from {json.dumps((SDK / "js/src/index.js").as_uri())};
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const plain = ({{ namespace, key, value, revision }}) => [namespace, key, hex(value), revision];
const CALLS = {{
  get: (storage, namespace, key) => plain(storage.get(namespace, key)),
  put: (storage, namespace, key, value, revision) =>
    plain(storage.put({{ namespace, key, value: Buffer.from(value, 'hex'), revision }})),
  delete: (storage, namespace, key) => storage.delete(namespace, key) ?? null,
  list_entries: (storage, namespace, cursor) => storage.listEntries(namespace, cursor).map(plain),
}};
function attempt(storage, [name, ...rest]) {{
  try {{
    return CALLS[name](storage, ...rest);
  }} catch (error) {{
    if (error.name !== 'HostError') throw error;
    return error.code;
  }}
}}
const answers = JSON.parse(readFileSync(0, 'utf8')).map((asks) => {{
  const {{ storage }} = createMockHostBindings();
  return asks.map((ask) => attempt(storage, ask));
}});
process.stdout.write(JSON.stringify(answers));
"""


def drawn(rng: random.Random) -> list[Any]:
    """One question of a guest."""
    name = rng.choice(["get", "put", "put", "delete", "list_entries"])
    if name == "list_entries":
        return [name, rng.choice(NAMES), rng.choice(CURSORS)]
    about = [name, rng.choice(NAMES), rng.choice(KEYS)]
    return [*about, rng.choice(VALUES), rng.choice(REVISIONS)] if name == "put" else about


def in_python(storage: Storage, ask: Sequence[Any]) -> Any:
    name, *rest = ask
    try:
        if name == "put":
            namespace, key, value, revision = rest
            return plain(storage.put(namespace, key, bytes.fromhex(value), revision=revision))
        found = getattr(storage, name)(*rest)
    except HostError as error:
        return error.code
    return [plain(entry) for entry in found] if name == "list_entries" else found and plain(found)


def plain(entry: Any) -> list[Any]:
    return [entry.namespace, entry.key, entry.value.hex(), entry.revision]


def in_javascript(sequences: list[list[Any]]) -> list[list[Any]]:
    ran = subprocess.run(
        [find_node(), "--input-type=module", "--eval", RUN],
        input=json.dumps(sequences),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers: list[list[Any]] = json.loads(ran.stdout)
    return answers


def compare(sequences: list[list[Any]]) -> None:
    for asks, answers in zip(sequences, in_javascript(sequences), strict=True):
        storage = mock_host().storage
        for at, (ask, answer) in enumerate(zip(asks, answers, strict=True)):
            assert in_python(storage, ask) == answer, (at, ask)


def test_whatever_a_guest_asks_both_mocks_answer_alike() -> None:
    rng = random.Random(26)  # the same questions every time, so that a failure can be looked at
    compare([[drawn(rng) for _ in range(ASKS)] for _ in range(SEQUENCES)])


def test_both_mocks_end_at_the_same_quotas_and_page_alike() -> None:
    keys = [["put", "n", f"k{number:04}", "", None] for number in range(mock_storage.KEYS_PER_NAMESPACE + 1)]
    pages = [["list_entries", "n", cursor] for cursor in (None, "k0099", "k5018", "k5019", "k5119")]
    namespaces = [["put", f"n{number}", "k", "", None] for number in range(mock_storage.NAMESPACES + 1)]
    freed = [["delete", "n7", "k"], ["put", "beyond", "k", "", None], ["put", "further", "k", "", None]]
    compare([[*keys, *pages], [*namespaces, *freed]])
    answers = in_javascript([keys, namespaces])
    assert [answer[-1] for answer in answers] == ["denied", "denied"]
    assert "denied" not in answers[0][:-1] + answers[1][:-1]


def test_both_mocks_have_the_same_limits() -> None:
    source = (SDK / "js/src/mock-storage.js").read_text()
    (block,) = re.findall(r"STORAGE_LIMITS = Object\.freeze\(\{(.*?)\}\)", source, re.DOTALL)
    found = {name: eval(number, {"KIB": 1024}) for name, number in re.findall(r"(\w+): ([\d*KIB ]+)", block)}
    assert found == {
        "namespaceChars": mock_storage.NAMESPACE_CHARS,
        "keyChars": mock_storage.KEY_CHARS,
        "valueBytes": mock_storage.VALUE_BYTES,
        "namespaces": mock_storage.NAMESPACES,
        "keysPerNamespace": mock_storage.KEYS_PER_NAMESPACE,
        "bytes": mock_storage.BYTES,
        "pageEntries": mock_storage.PAGE_ENTRIES,
    }
