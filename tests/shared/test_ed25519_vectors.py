"""The published edge cases of Ed25519, and what our verifier and our trust bundle say to each.

Source: "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko; SSR 2020, IACR ePrint 2020/1244, table 6), whose values
are published as `cases.json` of github.com/novifinancial/ed25519-speccheck. All twelve must fail here:

    0, 1, 2    A or R (or both) of small order: such a key signs every message; libsodium refuses them
    3          A and R of mixed order, and both equations hold: libsodium alone accepts it. Other verifiers and batches
               disagree on keys of this kind, so the trust bundle takes none: only points of the prime-order group
    4, 5       the equation holds with the cofactor only, with a reduced and an unreduced scalar: ours has no cofactor
    6, 7       S >= L: the same signature written again (RFC 8032 §5.1.7, step 1)
    8, 9       R is not canonically encoded, reduced before hashing and not
    10, 11     A is not canonically encoded, reduced before hashing and not
"""

from __future__ import annotations

import pytest

from shared.keys import PrivateKey, PublicKey
from shared.trust import TrustFormatError, parse_trust

SMALL_A = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"
MIXED_A = "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43"
MIXED_B = "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d"
ODD_A = "ec" + "ff" * 31
SOUND = "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623"
M2, M4, M6 = (
    "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
    "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
    "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
)
ODD_SIGNATURE = (
    "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc"
    "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04"
)
VECTORS = [
    (
        "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        SMALL_A,
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a" + "00" * 32,
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        SMALL_A,
        (
            "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43"
            "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04"
        ),
    ),
    (
        "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        MIXED_A,
        (
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"
            "8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e"
        ),
    ),
    (
        "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        MIXED_B,
        (
            "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f"
            "87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009"
        ),
    ),
    (
        M4,
        MIXED_B,
        (
            "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512"
            "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09"
        ),
    ),
    (
        M4,
        MIXED_B,
        (
            "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7"
            "e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405"
        ),
    ),
    (
        M6,
        SOUND,
        (
            "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e"
            "547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514"
        ),
    ),
    (
        M6,
        SOUND,
        (
            "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942"
            "7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22"
        ),
    ),
    (
        M2,
        MIXED_A,
        "ec" + "ff" * 31 + "03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
    ),
    (
        M2,
        MIXED_A,
        "ec" + "ff" * 31 + "ca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
    ),
    ("e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b", ODD_A, ODD_SIGNATURE),
    ("39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f", ODD_A, ODD_SIGNATURE),
]
MIXED_AND_BOTH_HOLD = 3


@pytest.mark.parametrize("number", range(len(VECTORS)))
def test_no_published_edge_case_is_accepted_by_a_trusted_key(number):
    message, key, signature = VECTORS[number]
    public = PublicKey(bytes.fromhex(key))
    fits = public.verify(bytes.fromhex(message), bytes.fromhex(signature))
    assert fits == (number == MIXED_AND_BOTH_HOLD)
    assert not (fits and public.is_sound)


@pytest.mark.parametrize("key", [SMALL_A, MIXED_A, MIXED_B, ODD_A, "00" * 32, "01" + "00" * 31, "02" + "00" * 31])
def test_a_key_that_is_no_point_of_the_prime_order_group_is_not_trusted(key):
    public = PublicKey(bytes.fromhex(key))
    assert not public.is_sound
    with pytest.raises(TrustFormatError, match=f"{public.key_id} is no point of the prime-order group"):
        parse_trust(PrivateKey(bytes(32)).public.pem() + public.pem())


def test_keys_that_anyone_made_are_sound():
    assert PublicKey(bytes.fromhex(SOUND)).is_sound
    for seed in range(32):
        key = PrivateKey(bytes([seed]) * 32).public
        assert key.is_sound
        assert list(parse_trust(key.pem()).keys) == [key.key_id]
