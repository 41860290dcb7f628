"""The routes with a host that lives in memory. What goes out is refused until a test says otherwise."""

import unittest

from alga_extension import MockHost, Request, Response, answer, mock_host
from app import router


def call(method: str, url: str, host: MockHost) -> Response:
    """What the extension answers."""
    return answer(router, Request(method, url, context=host.context.get_context()), host)


class Hello(unittest.TestCase):
    """GET /hello."""

    def setUp(self) -> None:
        """A host for each test."""
        self.host = mock_host()

    def test_it_greets_the_world(self) -> None:
        response = call("GET", "/hello", self.host)
        self.assertEqual(response.status, 200)
        self.assertEqual(response.json(), {"message": "Hello, world!", "tenant": "tenant-mock"})
        self.assertEqual(self.host.recorded.logs, [("info", "greeting world")])

    def test_it_greets_by_name(self) -> None:
        self.assertIn("Ada", str(call("GET", "/hello?name=Ada", self.host).json()))

    def test_a_name_that_is_too_long_is_refused(self) -> None:
        self.assertEqual(call("GET", "/hello?name=" + "x" * 100, self.host).status, 200)
        self.assertEqual(call("GET", "/hello?name=" + "x" * 101, self.host).status, 400)

    def test_an_unknown_path_is_not_found(self) -> None:
        self.assertEqual(call("GET", "/goodbye", self.host).status, 404)
