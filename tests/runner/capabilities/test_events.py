"""events towards a guest: every refusal a text that says what would be accepted, told in the debug stream once."""

from __future__ import annotations

from typing import Any

import pytest

from runner.capabilities import events as capability
from runner.capabilities.table import BY_INTERFACE, CAPABILITIES, with_services
from shared import errors, events
from shared.errors import PlatformError
from shared.events import EventPublish, EventPublished
from shared.limits import EVENT_PAYLOAD_MAX_BYTES, EVENT_TOPIC_MAX_CHARS
from tests.runner.capabilities.gateway_guest import TOKEN, WORLD, Gateway, GatewayGuest

DONE = EventPublished(id="7b0d8a50-9d4f-4b7e-8b1c-0d7f0c6f3f10")


class Guest(GatewayGuest):
    """Calls the interface as a sandbox does."""

    offer = staticmethod(capability.capability)

    async def publish(self, topic: str = "com.acme.x", payload: bytes = b"p") -> Any:
        return await self.call("publish", topic, payload)


async def test_an_event_is_one_question_with_the_calls_own_token() -> None:
    guest = Guest(DONE)
    assert await guest.publish("com.acme.x", b"\x00p") == (True, None)
    ((path, message, _, about),) = guest.gateway.asked
    assert path == events.PUBLISH_PATH
    assert isinstance(message, EventPublish)
    assert (message.topic, message.payload) == ("com.acme.x", b"\x00p")
    assert 4000 < message.timeout_ms <= 5000
    assert (about["host_token"], about["request_id"]) == (TOKEN, "r-1")
    assert guest.events == []


def test_the_coroutines_are_the_functions_of_the_wit() -> None:
    functions = {function.name.replace("-", "_") for function in WORLD.interfaces["events"].functions}
    assert functions == {name for name in vars(capability.Events) if not name.startswith("_")}


def test_the_list_has_it_and_a_runner_without_a_gateway_does_not_answer() -> None:
    assert capability.CAPABILITY in CAPABILITIES
    assert BY_INTERFACE["events"].open is None
    assert with_services(capability.capability(Gateway()))["events"].open is not None


async def test_without_the_grant_the_text_names_the_capability_and_nobody_is_asked() -> None:
    guest = Guest(granted=False)
    assert await guest.publish() == (False, "cap:events.publish is not granted to this install")
    assert guest.gateway.asked == []
    assert "cap:events.publish is not granted" in guest.events[0].message


async def test_without_a_host_token_it_says_why() -> None:
    guest = Guest(token=None)
    done, text = await guest.publish()
    assert not done
    assert "a call through the gateway carries one" in text
    assert guest.gateway.asked == []


@pytest.mark.parametrize(
    "error",
    [
        errors.Forbidden("this extension may publish com.acme.x and topics that begin with com.acme.x. only"),
        errors.RateLimited("an extension may publish 100 events a minute; there is room again in 9 s", retry_after_s=9),
        errors.NotInstalled("no such extension is installed for this tenant"),
        errors.Unauthorized("a valid token is needed"),
        errors.InvalidRequest("a topic must be"),
    ],
    ids=lambda error: error.code,
)
async def test_a_refusal_is_told_in_its_own_words_and_shown_once(error: PlatformError) -> None:
    guest = Guest(error, error, DONE)
    assert await guest.publish() == (False, error.detail)
    assert await guest.publish() == (False, error.detail)
    assert await guest.publish() == (True, None)
    assert [(event.level, event.message) for event in guest.events] == [("warn", f"events.publish: {error.detail}")]


@pytest.mark.parametrize("error", [errors.Internal("no usable answer"), errors.AccessPolicyUnavailable("away")])
async def test_a_failure_of_the_platform_leaves_open_whether_it_was_accepted(error: PlatformError) -> None:
    guest = Guest(error)
    assert await guest.publish() == (False, f"{error.detail}; whether the event was accepted is not known")


@pytest.mark.parametrize("size", [EVENT_PAYLOAD_MAX_BYTES - 1, EVENT_PAYLOAD_MAX_BYTES])
async def test_a_payload_of_the_limit_is_sent(size: int) -> None:
    assert await Guest(DONE).publish(payload=b"x" * size) == (True, None)


async def test_a_payload_beyond_it_is_refused_without_asking() -> None:
    guest = Guest()
    done, text = await guest.publish(payload=b"x" * (EVENT_PAYLOAD_MAX_BYTES + 1))
    assert (done, guest.gateway.asked) == (False, [])
    assert f"at most {EVENT_PAYLOAD_MAX_BYTES} bytes; keep more in storage" in text


async def test_a_topic_of_the_longest_length_is_sent_and_a_longer_one_is_not() -> None:
    longest = "a" * EVENT_TOPIC_MAX_CHARS
    assert await Guest(DONE).publish(longest) == (True, None)
    done, text = await Guest().publish(longest + "a")
    assert not done
    assert "such as com.acme.tickets.created" in text
