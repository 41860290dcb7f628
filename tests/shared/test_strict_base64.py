"""Base64 with one writing: what the encoder writes is read, and nothing else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.strict_base64 import StrictBase64Error, decode

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="


@given(st.binary(max_size=100))
def test_what_is_encoded_is_read_back(data):
    assert decode(base64.b64encode(data).decode()) == data


@pytest.mark.parametrize("text", ["A", "AB", "AB=", "AB==C", "AR==", "AAF=", "A A=", "AA==\n", "-_8=", "ÄÄ==", "\0AA="])
def test_another_writing_is_refused(text):
    with pytest.raises(StrictBase64Error) as caught:
        decode(text)
    assert text not in str(caught.value)


@given(st.text(alphabet=LETTERS, max_size=12) | st.text(max_size=12))
def test_a_text_is_refused_or_the_only_one_for_its_bytes(text):
    try:
        data = decode(text)
    except StrictBase64Error:
        return
    assert base64.b64encode(data).decode() == text
