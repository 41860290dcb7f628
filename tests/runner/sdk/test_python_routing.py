"""Which route of a Python guest answers, with which parameters, and what is said when none does."""

from __future__ import annotations

import pytest
from alga_extension import Handler, Host, HttpError, Request, Response, Router, json_response, mock_host


def named(name: str) -> Handler:
    def handler(request: Request, _host: Host) -> Response:
        return json_response({"name": name, **request.params})

    return handler


ROUTER = Router(
    {
        "/": {"GET": named("root")},
        "/items": {"GET": named("list"), "POST": named("add")},
        "/items/:id": {"GET": named("show"), "DELETE": named("remove")},
        "/items/new": {"GET": named("new")},
    }
)
ROUTER.add("PUT", "/items/:id/parts/:part", named("part"))


def ask(method: str, url: str, router: Router = ROUTER) -> Response:
    return router(Request(method, url), mock_host())


@pytest.mark.parametrize(
    ("method", "url", "told"),
    [
        ("GET", "/", {"name": "root"}),
        ("GET", "/items?x=1", {"name": "list"}),
        ("POST", "/items", {"name": "add"}),
        ("DELETE", "/items/7", {"name": "remove", "id": "7"}),
        ("GET", "/items/a%2Fb%20%C3%A4", {"name": "show", "id": "a/b ä"}),
        ("GET", "/items/a+b", {"name": "show", "id": "a+b"}),
        ("PUT", "/items/7/parts/8", {"name": "part", "id": "7", "part": "8"}),
        ("GET", "/items/new", {"name": "new"}),
        ("HEAD", "/items", {"name": "list"}),
    ],
)
def test_path_and_method_choose_the_handler(method: str, url: str, told: dict[str, str]) -> None:
    assert ask(method, url).json() == told


@pytest.mark.parametrize("url", ["/absent", "/items/", "/items/7/", "/items//parts/8", "/items/7/8", "//"])
def test_an_unknown_path_is_a_404_that_names_it(url: str) -> None:
    told = ask("GET", url)
    assert (told.status, told.json()) == (404, {"error": "not found", "path": url})


def test_a_method_the_path_does_not_take_is_a_405_that_names_those_it_takes() -> None:
    told = ask("PATCH", "/items")
    assert (told.status, told.header("allow")) == (405, "GET, POST")
    assert told.json() == {"error": "method not allowed", "path": "/items", "allow": "GET, POST"}
    assert ask("POST", "/items/7").header("allow") == "GET, DELETE"


def test_head_has_its_own_route_where_one_is_given() -> None:
    router = Router({"/": {"GET": named("get"), "HEAD": named("head")}})
    assert ask("HEAD", "/", router).json() == {"name": "head"}


@pytest.mark.parametrize("segment", ["%ff", "%zz", "%", "%4", "a%C3"])
def test_a_segment_that_is_not_percent_encoded_utf8_is_the_callers_fault(segment: str) -> None:
    with pytest.raises(HttpError) as refused:
        ask("GET", f"/items/{segment}")
    assert refused.value.status == 400


def test_the_first_of_two_patterns_that_match_wins() -> None:
    router = Router({"/:a/x": {"GET": named("one")}, "/y/:b": {"GET": named("two")}})
    assert ask("GET", "/y/x", router).json() == {"name": "one", "a": "y"}
    assert ask("GET", "/y/z", router).json() == {"name": "two", "b": "z"}


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
def test_every_verb_has_a_decorator_that_leaves_the_function_as_it_is(verb: str) -> None:
    router = Router()
    handler = named(verb)
    assert getattr(router, verb)("/")(handler) is handler
    assert ask(verb.upper(), "/", router).json() == {"name": verb}


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "a", "begins with"),
        ("GET", "/a?x", "begins with"),
        ("GET", "/a#x", "begins with"),
        ("get", "/a", "GET /a is there already"),
        ("GET", "/b/:x", "there already"),
        ("POST", "/b/:y", "under other names"),
        ("GET", "/:x/:x", "a name of its own"),
        ("GET", "/c/:", "a name of its own"),
    ],
)
def test_a_route_that_could_not_work_is_refused_when_it_is_added(method: str, path: str, says: str) -> None:
    router = Router({"/a": {"GET": named("a")}, "/b/:x": {"GET": named("b")}})
    with pytest.raises(ValueError, match=says):
        router.add(method, path, named(""))
