"""Connections to one worker: what is read, what is refused, and which process is at the other end."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.bench.measure import Load
from tests.bench.workers import Line, RefusedError, Reply, held_by, one_to_each_worker

OK = b"HTTP/1.1 200 \r\nContent-Type: text/plain\r\ncontent-length: 5\r\n\r\nhello"


@contextlib.contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server for one connection that gives these answers in turn, then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                for answer in answers:
                    if connection.recv(65536):
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join(20)


def test_one_connection_serves_one_request_after_the_other() -> None:
    with answering(OK, OK) as url, Line(url) as line:
        first, second = line.ask(Load(f"{url}/a")), line.ask(Load(f"{url}/b"))
    assert first.body == second.body == b"hello"
    assert first.headers == ((b"content-type", b"text/plain"), (b"content-length", b"5"))
    assert first.took_ms > 0


def test_anything_but_200_is_an_error_that_shows_the_answer() -> None:
    busy = b"HTTP/1.1 503 \r\ncontent-length: 4\r\n\r\nbusy"
    with answering(busy) as url, Line(url) as line, pytest.raises(RefusedError, match="busy"):
        line.ask(Load(url))


def test_a_server_that_hangs_up_in_the_middle_is_an_error() -> None:
    with answering(OK[:-1]) as url, Line(url) as line, pytest.raises(ConnectionError):
        line.ask(Load(url))


def test_sandboxes_are_read_from_the_readiness_of_the_worker_at_the_other_end() -> None:
    body = b'{"ready":true,"draining":false,"sandboxes":{"idle":3,"spare":1,"busy":0}}'
    ready = b"HTTP/1.1 200 \r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    with answering(ready, ready) as url, Line(url) as line:
        assert line.sandboxes().idle == 3
        line.await_spare()


def test_the_process_that_holds_the_other_end_is_told_apart() -> None:
    with answering(OK, OK) as url, Line(url) as line:
        line.ask(Load(url))
        assert held_by([1, os.getpid()], line.inode()) == os.getpid()
        assert held_by([os.getpid()], "0") is None


def test_a_process_without_workers_is_named() -> None:
    with pytest.raises(LookupError, match="no workers"), one_to_each_worker("http://127.0.0.1:1", os.getpid()):
        raise AssertionError


def test_a_reply_says_each_header_once_and_in_order() -> None:
    reply = Reply(b"HTTP/1.1 200 \r\nX-B: 2\r\nx-a:  1", b"", 1.0)
    assert reply.headers == ((b"x-b", b"2"), (b"x-a", b"1"))


def test_no_process_is_found_for_a_socket_that_nobody_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Line(f"http://127.0.0.1:{server.getsockname()[1]}") as line:
        assert line.inode() == ""
