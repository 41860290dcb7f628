"""The console in a real browser: from signing in to data that came out of a guest, and back out again."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import BrowserContext, Page, expect

from deploy.local.record import Stack
from gateway.console.theme import DARK, LIGHT
from gateway.identity.console import COOKIE
from tests.browser.conftest import Shoot

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAMPLES = {
    "hello-quickjs": "Hello (QuickJS)",
    "hello-python": "Hello (Python)",
    "hello-starling": "Hello (StarlingMonkey)",
}


def noted(page: Page) -> list[str]:
    """What the browser complains about from now on: policies that were violated, scripts that failed."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    return found


async def sign_in(page: Page, credential: str) -> None:
    await page.goto("/msp/signin")
    await page.get_by_label("API key or session token").fill(credential)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Installed extensions")).to_be_visible()


async def refusal_of(page: Page, path: str) -> str | None:
    """The error code that the page itself gets when it asks for `path`, with every cookie it has."""
    ask = "path => fetch(path).then(async (answer) => answer.ok ? null : (await answer.json()).code)"
    found: str | None = await page.evaluate(ask, path)
    return found


async def test_from_signing_in_to_data_out_of_the_guest(page: Page, stack: Stack, shoot: Shoot) -> None:
    complaints = noted(page)
    await page.goto("/msp/signin")
    await shoot(page, "sign-in")
    await sign_in(page, stack.tenant("globex").api_key)
    await expect(page.get_by_role("banner")).to_contain_text("globex")
    for title in SAMPLES.values():
        await expect(page.get_by_role("listitem").filter(has_text=title)).to_contain_text("Enabled")
    await page.wait_for_load_state("networkidle")
    await shoot(page, "list")
    for title in SAMPLES.values():
        await page.get_by_role("link", name=title, exact=True).click()
        frame = page.frame_locator("#frame")
        await expect(frame.locator("#greeting")).to_have_text("The handler says hello.")
        await expect(frame.locator("#tenant")).to_have_text("globex")
        await frame.locator("#text").fill("Ünïcödé ✓")
        await frame.locator("#send").click()
        await expect(frame.locator("#answer")).to_have_text("Ünïcödé ✓")
        await expect(page.locator("#toasts")).to_contain_text("The handler sent your text back.")
        await shoot(page, title)
        await page.get_by_role("link", name="Installed").click()
    assert complaints == []


async def test_locally_the_demo_administrator_is_signed_in_by_itself(page: Page, context: BrowserContext) -> None:
    await page.goto("/msp/extensions")
    await expect(page.get_by_role("banner")).to_contain_text("Demo Administrator")
    (found,) = [cookie for cookie in await context.cookies() if cookie["name"] == COOKIE]
    assert (found["httpOnly"], found["secure"], found["sameSite"], found["path"]) == (True, True, "Lax", "/")
    assert await page.evaluate("document.cookie") == ""


async def test_the_cookie_opens_the_console_and_no_extension(page: Page, stack: Stack) -> None:
    await page.goto("/msp/extensions")
    install = stack.extension("hello-quickjs", "acme").install_id
    assert await refusal_of(page, f"/msp/api/extensions/{install}/bootstrap") is None
    for path in (f"/api/ext/{install}/hello", "/api/installs", f"/api/ext-ui/bootstrap/{install}"):
        assert await refusal_of(page, path) == "unauthenticated"


async def test_signing_out_ends_the_sign_in_for_good(page: Page, context: BrowserContext, stack: Stack) -> None:
    await sign_in(page, stack.tenant("globex").api_key)
    before = [cookie for cookie in await context.cookies() if cookie["name"] == COOKIE]
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("status")).to_have_text("You have signed out.")
    assert [cookie for cookie in await context.cookies() if cookie["name"] == COOKIE] == []
    https = stack.gateway_url.replace("http://", "https://")  # as which this address counts; else `Secure` is refused
    await context.add_cookies([{"name": COOKIE, "value": before[0]["value"], "url": https, "secure": True}])
    stream = "/api/ext-debug/stream?extensionId=alga.samples.hello-quickjs"
    assert await refusal_of(page, stream) == "invalid_session"  # it was sent, and is worth nothing
    await page.goto("/msp/extensions")
    await expect(page.get_by_role("banner")).not_to_contain_text("globex")


async def test_a_page_of_an_extension_follows_the_readers_theme(page: Page, stack: Stack, shoot: Shoot) -> None:
    await page.emulate_media(color_scheme="light")
    await page.goto(f"/msp/extensions/{stack.extension('hello-quickjs', 'acme').install_id}")
    frame = page.frame_locator("#frame")
    await expect(frame.locator("#greeting")).to_have_text("The handler says hello.")
    for scheme, theme in (("light", LIGHT), ("dark", DARK)):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        channels = [str(int(theme["--alga-bg"][index : index + 2], 16)) for index in (1, 3, 5)]
        await expect(frame.locator("body")).to_have_css("background-color", f"rgb({', '.join(channels)})")
        await shoot(page, scheme)


async def test_the_address_inside_an_extension_can_be_linked_to(page: Page, stack: Stack) -> None:
    await page.goto(f"/msp/extensions/{stack.extension('hello-quickjs', 'acme').install_id}?path=%2Fnotes%2F7")
    await expect(page.frame_locator("#frame").locator("#path")).to_have_text("/notes/7")


async def test_the_live_log_shows_calls_as_they_happen(page: Page, stack: Stack, shoot: Shoot) -> None:
    install = stack.extension("hello-quickjs", "acme").install_id
    key = stack.tenant("acme").api_key

    async def call(path: str) -> None:
        answer = await page.request.get(f"/api/ext/{install}{path}", headers={"authorization": f"Bearer {key}"})
        assert answer.status == 200

    await page.goto(f"/msp/extensions/{install}/debug")
    await expect(page.locator("#state")).to_have_text("Live")
    await call("/log")
    events = page.locator("#events li")
    await expect(events.filter(has_text="a warning line")).to_be_visible()
    await shoot(page, "live")

    await page.get_by_label("Level").select_option("error")
    await expect(events.filter(has_text="a warning line")).to_have_count(0)
    await expect(events.filter(has_text="an error line")).to_have_count(1)
    await page.get_by_label("Level").select_option("trace")

    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("#state")).to_have_text("Paused")
    await call("/log")
    await expect(page.locator("#count")).to_contain_text("waiting")
    await expect(events.filter(has_text="a warning line")).to_have_count(1)
    await page.get_by_role("button", name="Resume").click()
    await expect(events.filter(has_text="a warning line")).to_have_count(2)

    await events.filter(has_text="a warning line").last.locator(".request").click()
    await expect(events.filter(has_text="a warning line")).to_have_count(1)
    await page.get_by_role("button", name="Clear").click()
    await expect(events).to_have_count(0)


async def test_the_console_can_be_used_with_the_keyboard_alone(page: Page) -> None:
    await page.goto("/msp/extensions")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile(r"/msp/extensions/[0-9a-f-]{36}$"))


async def test_nobody_can_frame_the_console(page: Page, stack: Stack) -> None:
    await page.goto(f"{stack.gateway_url}/healthz")
    await page.set_content(f'<iframe id="f" src="{stack.gateway_url}/msp/signin"></iframe>')
    await page.wait_for_load_state("networkidle")
    frame = page.frames[-1]
    assert frame.url.startswith("chrome-error:")
