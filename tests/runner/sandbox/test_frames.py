"""The sandbox protocol: golden bytes for each frame, and nothing else is a frame."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.sandbox import frames
from shared.limits import FRAME_MAX_BYTES

EXECUTE = frames.Execute(
    seq=7,
    component="ab",
    timeout_ms=5000,
    memory_bytes=67108864,
    context=("r", "t", "e", "i", None),
    method="GET",
    url="/hello",
    headers=[("a", "b")],
    body=b"\x00\xff",
    capabilities=("cap:log.emit",),
    user="not-available",
    config=[("k", "v")],
)

GOLDEN: list[tuple[frames.ToSandbox | frames.FromSandbox, str]] = [
    (
        EXECUTE,
        (
            "4f0000009d0107a26162cd1388ce0400000095a172a174a165a169c0a3474554a62f68656c6c6f9192a161a162c40200ff91"
            "ac6361703a6c6f672e656d6974ad6e6f742d617661696c61626c659192a16ba176"
        ),
    ),
    (frames.Reply(7, [False, "denied"]), "0c00000093020792c2a664656e696564"),
    (frames.Release(7), "03000000920307"),
    (frames.Trim(), "020000009104"),
    (frames.Ready(9, {"seccomp": "on"}), "0f000000930a0981a7736563636f6d70a26f6e"),
    (frames.Log(7, "info", "log", "hi", False), "10000000960b07a4696e666fa36c6f67a26869c2"),
    (frames.HostCall(7, "storage", "get", ["n", "k"]), "14000000950c07a773746f72616765a367657492a16ea16b"),
    (frames.Done(7, 200, [("a", "b")], b"ok", 12, 1), "11000000970d07ccc89192a161a162c4026f6b0c01"),
    (frames.Failed(7, "stack", "m", 12, 1), "0d000000960e07a5737461636ba16d0c01"),
]
NAMES = [type(frame).__name__ for frame, _ in GOLDEN]


@pytest.mark.parametrize(("frame", "expected"), GOLDEN, ids=NAMES)
def test_each_frame_has_these_bytes(frame: frames.ToSandbox | frames.FromSandbox, expected: str) -> None:
    assert frames.encode(frame).hex() == expected


@pytest.mark.parametrize("frame", [frame for frame, _ in GOLDEN], ids=NAMES)
def test_each_frame_is_read_in_its_direction_and_refused_in_the_other(
    frame: frames.ToSandbox | frames.FromSandbox,
) -> None:
    body = bytes(frames.encode(frame))[frames.LENGTH.size :]
    inward = isinstance(frame, frames.ToSandbox)
    read, refuse = (
        (frames.decode_to_sandbox, frames.decode_from_sandbox)
        if inward
        else (frames.decode_from_sandbox, frames.decode_to_sandbox)
    )
    assert type(read(body)).__struct_config__.tag == type(frame).__struct_config__.tag
    with pytest.raises(msgspec.ValidationError):
        refuse(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_typed_refusal(data: bytes) -> None:
    try:
        frames.decode_from_sandbox(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(min_value=1, max_value=50))
def test_a_stream_cut_anywhere_gives_the_same_frames(bodies: list[bytes], cut: int) -> None:
    stream = b"".join(frames.LENGTH.pack(len(body)) + body for body in bodies)
    reader = frames.FrameReader()
    found = [body for at in range(0, len(stream), cut) for body in reader.feed(stream[at : at + cut])]
    assert found == bodies


def test_a_frame_at_the_limit_is_read_and_one_byte_more_is_refused_before_it_is_read() -> None:
    assert frames.FrameReader().feed(frames.LENGTH.pack(FRAME_MAX_BYTES)) == []
    with pytest.raises(frames.FrameError, match=str(FRAME_MAX_BYTES)):
        frames.FrameReader().feed(frames.LENGTH.pack(FRAME_MAX_BYTES + 1))


def test_a_frame_that_would_be_too_large_is_not_sent() -> None:
    with pytest.raises(frames.FrameError):
        frames.encode(frames.Done(1, 200, [], b"x" * FRAME_MAX_BYTES, 0, 0))


@pytest.mark.parametrize(
    ("cpu_us", "host_calls", "accepted"),
    [(0, 0, True), (2**53, 2**31 - 1, True), (0, -1, False), (0, 2**31, False), (-1, 0, False), (2**53 + 1, 0, False)],
)
def test_a_figure_that_no_record_could_hold_is_no_frame(cpu_us: int, host_calls: int, accepted: bool) -> None:
    for frame in (
        frames.Done(7, 200, [], None, cpu_us, host_calls),
        frames.Failed(7, "stack", "m", cpu_us, host_calls),
    ):
        body = bytes(frames.encode(frame))[frames.LENGTH.size :]
        if accepted:
            assert frames.decode_from_sandbox(body) == frame
        else:
            with pytest.raises(msgspec.ValidationError):
                frames.decode_from_sandbox(body)
