"""The board as a person has it: in a real headless Chromium, on a real store."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer

from bot import admin
from bot.domain import alert as alerts
from bot.domain.access import Organisation
from bot.store import directory
from bot.web import server
from bot.web.board import Board
from bot.web.guard import Guard
from tests import browsers, factories
from tests.worlds import World, make_update

pytestmark = [browsers.needs_chromium, pytest.mark.asyncio(loop_scope="module")]

TOKEN = "correct horse battery staple"
EVENT = "00000000000000e1"
HOSTILE = '<img src=x onerror="alert(1)"> <!channel> **@everyone** \u202egnp.exe\u202c \u05e9\u05dc\u05d5\u05dd'
# The contrast of a text with the first ground behind it that is not transparent (WCAG 2.2), for each of `selector`.
CONTRASTS = """selector => {
  const rgb = (colour) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const found = rgb(getComputedStyle(at).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll(selector)].map((element) => {
    const both = [light(rgb(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => b - a);
    return { text: element.textContent, ratio: (both[0] + 0.05) / (both[1] + 0.05) };
  });
}"""


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path / "tocsin.db")
    yield made
    made.close()


@pytest.fixture
def local(world) -> World:
    """With the organisation ``local``, which may see everything, and three events; the explosion came last."""
    world.write(admin.first_run, world.now, ["*"])
    place = alerts.Place(name="Marisol", country="MX", lat=19.2, lon=-96.1, radius_km=12.0, confidence=0.8)
    report(world, event="00000000000000e3", category="flood", headline="Flooding reported in Marisol", place=place)
    world.wait(minutes=2)
    report(
        world,
        event="00000000000000e2",
        category="fire",
        level=alerts.Level.URGENT,
        headline="Fire reported",
        place=None,
    )
    world.wait(minutes=2)
    report(world)
    return world


def report(world: World, **fields: Any) -> None:
    event = fields.get("event", EVENT)
    defaults = {"evidence": tuple(f"bluesky|{event}{name}" for name in "abc"), "quotes": (f"bluesky|{event}a",)}
    alert = factories.make_alert(**{"raised_at": world.now} | defaults | fields)
    steps = [world.candidate(key, created_at=world.now) for key in alert.evidence]
    world.record(alert, view=world.view("local"), steps=steps)


def update(world: World, **fields: Any) -> None:
    evidence = tuple(f"bluesky|{EVENT}{name}" for name in "abc")
    update = make_update(**{"raised_at": world.now, "evidence": evidence, "quotes": evidence[:1]} | fields)
    world.record(update, view=world.view("local"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    async with browsers.launched() as found:
        yield found


@asynccontextmanager
async def opened(
    browser: Any,
    world: World,
    path: str = "/",
    *,
    token: str | None = None,
    expected: str = "",
    at: timedelta = timedelta(minutes=12),
    **more: Any,
) -> AsyncIterator[Any]:
    """A page of the board, its clock ``at`` after the world's. ``expected``: a pattern that each problem the browser
    reports has to match, and one has to."""
    guard = Guard(token=token, now=lambda: world.now)
    board = Board(world.database, guard, now=lambda: world.now)
    async with TestServer(server.application(lambda: {"ok": True}, guard, board=board)) as served:
        context = await browser.new_context(
            **{"base_url": str(served.make_url("/")), "viewport": {"width": 1440, "height": 900}, "locale": "en-GB"}
            | {"timezone_id": "UTC"}
            | more
        )
        watch = browsers.Watch(host="127.0.0.1")
        try:
            page = await context.new_page()
            await page.clock.set_fixed_time(world.now + at)
            watch.follow(page)
            await page.goto(path)
            yield page
        finally:
            await context.close()
    if expected:
        assert watch.problems, "what was expected did not happen"
    assert [each for each in watch.problems if not (expected and re.search(expected, each))] == []


def expect(found: Any) -> Any:
    from playwright.async_api import expect as expecting

    return expecting(found)


def rows_of(page: Any) -> Any:
    return page.locator("#list").get_by_role("option")


async def headlines(page: Any, *wanted: str) -> None:
    await expect(page.locator(".row .headline")).to_have_text(list(wanted))


ALL = ("Explosion reported in Port Calder", "Fire reported", "Flooding reported in Marisol")


async def test_the_list_says_what_where_how_sure_and_how_long_ago(browser, local):
    async with opened(browser, local) as page:
        await headlines(page, *ALL)
        first, second = rows_of(page).nth(0), rows_of(page).nth(1)
        await expect(first).to_contain_text("ALERT")
        await expect(first).to_contain_text("Port Calder (Ireland)possible3 voices")
        await expect(first.locator("time")).to_have_text("12 min")
        await expect(second).to_contain_text("URGENT")
        await expect(second).to_contain_text("Place unknown")
        await expect(page.locator("#state")).to_have_text("Live")
        await expect(page.locator("#count")).to_have_text("3 events")


async def test_an_event_and_an_update_arrive_by_themselves_and_are_announced(browser, local):
    async with opened(browser, local) as page:
        await headlines(page, *ALL)
        local.wait(minutes=1)
        report(local, event="00000000000000e4", headline="Landslide reported", level=alerts.Level.FLASH)
        await headlines(page, "Landslide reported", *ALL)
        await expect(page.get_by_role("status")).to_have_text("New: flash, Landslide reported")
        local.wait(minutes=1)
        update(local, headline="Explosion: 3 hurt")
        await headlines(page, "Explosion: 3 hurt", "Landslide reported", *ALL[1:])
        await expect(page.get_by_role("status")).to_have_text("Update: alert, Explosion: 3 hurt")


async def test_an_open_event_is_kept_up_to_date(browser, local):
    async with opened(browser, local, f"/#{EVENT}") as page:
        await expect(page.locator(".timeline li")).to_have_count(1)
        update(local, headline="Explosion: 3 hurt", change="at least 3 reported injured")
        await expect(page.locator(".head h2")).to_have_text("Explosion: 3 hurt")
        await expect(page.locator(".timeline li").first).to_contain_text("At least 3 reported injured.")


async def test_a_new_revision_leaves_the_reader_where_they_are(browser, local):
    """What they have open stays open, what has the focus keeps it, and what they read does not move."""
    local.wait(minutes=1)
    update(local)
    async with opened(browser, local, f"/#{EVENT}", viewport={"width": 1440, "height": 500}) as page:
        thread, link = page.locator(".discord .replies summary"), page.get_by_role("link", name="Open the post")
        await thread.click()
        for read in (thread, link.nth(1)):
            await read.focus()
            await read.evaluate("found => found.scrollIntoView({block: 'center'})")
            at = await read.evaluate("found => found.getBoundingClientRect().top")
            revision = await page.locator(".timeline li").count() + 1
            local.wait(minutes=1)
            update(local, revision=revision, headline="Explosion reported in Port Calder " * 2 * revision)
            await expect(page.locator(".timeline li")).to_have_count(revision)
            await expect(read).to_be_focused()
            await expect(page.locator(".discord .replies")).to_have_attribute("open", "")
            await expect(page.locator(".slack .replies")).not_to_have_attribute("open", "")
            assert abs(await read.evaluate("found => found.getBoundingClientRect().top") - at) < 2


async def test_single_key_shortcuts_leave_fields_alone_and_can_be_turned_off_for_good(browser, local):
    local.wait(minutes=1)
    update(local)
    async with opened(browser, local, f"/#{EVENT}") as page:
        thread, first, search = page.locator(".slack summary"), rows_of(page).nth(0), page.get_by_role("searchbox")
        for field in (thread, page.get_by_label("Category"), page.get_by_label("Shortcuts")):
            await field.focus()
            await page.keyboard.press("j")
            await expect(field).to_be_focused()
        await page.get_by_label("Shortcuts").uncheck()
        for _ in ("at once", "after a reload"):
            await first.focus()
            for key in ("j", "k", "/"):
                await page.keyboard.press(key)
                await expect(first).to_be_focused()
            await expect(search).not_to_have_attribute("aria-keyshortcuts", "/")
            await expect(page.locator(".keys .single")).to_be_hidden()
            await page.reload()
            await expect(rows_of(page)).to_have_count(3)
        await page.keyboard.press("Escape")
        await page.get_by_label("Shortcuts").check()
        await first.focus()
        await page.keyboard.press("j")
        await expect(rows_of(page).nth(1)).to_be_focused()


async def test_search_level_and_category_narrow_the_list(browser, local):
    async with opened(browser, local) as page:
        await headlines(page, *ALL)
        search = page.get_by_role("searchbox")
        await search.press_sequentially("mari")
        await headlines(page, ALL[2])
        await search.fill("ireland POSSIBLE")
        await headlines(page, ALL[0])
        await search.fill("nothing like it")
        await expect(page.get_by_text("Nothing matches")).to_be_visible()
        await search.fill("")
        await page.get_by_role("button", name="alert, 2 events").click()
        await headlines(page, ALL[1])
        await page.get_by_role("button", name="alert, 2 events").click()
        await page.get_by_label("Category").select_option("flood")
        await headlines(page, ALL[2])
        await expect(page.locator("#count")).to_have_text("1 of 3 events")


async def test_everything_can_be_done_with_the_keyboard(browser, local):
    async with opened(browser, local) as page:
        await headlines(page, *ALL)
        rows, search = rows_of(page), page.get_by_role("searchbox")
        await page.keyboard.press("/")
        await expect(search).to_be_focused()
        await page.keyboard.type("reported")
        await page.keyboard.press("Escape")
        await expect(search).to_have_value("")
        await page.keyboard.press("ArrowDown")
        await expect(rows.nth(0)).to_be_focused()
        assert await rows.nth(0).evaluate("row => getComputedStyle(row).outlineStyle") == "solid"
        for key, at in (("j", 1), ("ArrowDown", 2), ("j", 2), ("k", 1), ("End", 2), ("Home", 0)):
            await page.keyboard.press(key)
            await expect(rows.nth(at)).to_be_focused()
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await expect(page.locator(".head h2")).to_be_focused()
        await expect(page.locator(".head h2")).to_have_text("Fire reported")
        await expect(rows.nth(1)).to_have_attribute("aria-selected", "true")
        await page.keyboard.press("Escape")
        await expect(rows.nth(1)).to_be_focused()
        await expect(page.get_by_text("Choose an event")).to_be_visible()


async def test_an_event_shows_where_how_and_on_what_evidence(browser, local):
    local.wait(minutes=1)
    update(local, level=alerts.Level.FLASH, change="level alert → flash")
    async with opened(browser, local) as page:
        await rows_of(page).first.click()
        pane = page.get_by_role("region", name="Event", exact=True)
        await expect(pane.locator(".known")).to_contain_text("3 independent voices in 3 posts")
        steps = pane.get_by_role("list", name="Revisions").locator("li")
        await expect(steps).to_have_count(2)
        await expect(steps.nth(0)).to_contain_text("FLASH")
        await expect(steps.nth(1)).to_contain_text("New")
        posts = pane.locator(".posts li")
        await expect(posts).to_have_count(3)
        await expect(posts.first).to_contain_text(f"text of bluesky|{EVENT}a")
        link = posts.first.get_by_role("link", name="Open the post")
        await expect(link).to_have_attribute("href", "https://social.example/1")
        await expect(link).to_have_attribute("rel", re.compile("noopener noreferrer"))
        for name in ("slack", "discord"):
            await expect(pane.locator(f".{name} .said").first).to_contain_text("FLASH")
            await expect(pane.locator(f".{name} .said").first).to_contain_text("text of bluesky")
            await expect(pane.locator(f".{name} .replies .said")).to_have_count(1)
            await expect(pane.locator(f".{name} .unknown")).to_have_count(0)


async def test_the_map_shows_the_circle_amid_coasts_and_can_be_widened(browser, local):
    async with opened(browser, local, f"/#{EVENT}") as page:
        drawing = page.get_by_role("img", name="Map: Port Calder (Ireland)")
        await expect(drawing.locator(".here")).to_have_text("Port Calder")
        await expect(drawing.locator("text.country", has_text="IRELAND")).to_be_visible()
        await expect(drawing.locator("text.city", has_text="Dublin")).to_be_visible()
        assert len(await drawing.locator(".land").get_attribute("d")) > 1_000
        await expect(drawing.locator(".scale text")).to_have_text("100 km")
        for _ in range(3):
            await page.get_by_role("button", name="Wider").click()
        await expect(drawing.locator("text.country", has_text="FRANCE")).to_be_visible()
        await expect(drawing.locator(".scale text")).to_have_text("1,000 km")


async def test_the_map_of_a_place_at_the_date_line_has_land_on_both_sides(browser, local):
    place = alerts.Place(name="Taveuna", country="FJ", lat=-17.0, lon=179.9, radius_km=90.0, confidence=0.8)
    local.wait(minutes=1)
    update(local, place=place)
    async with opened(browser, local, f"/#{EVENT}") as page:
        path = await page.locator(".map .land").get_attribute("d")
    across = [float(x) for x in re.findall(r"[ML]([-\d.]+),", path)]
    assert any(0 < x < 320 for x in across)
    assert any(320 < x < 640 for x in across)


async def test_hostile_text_stays_text(browser, local):
    text = f"{HOSTILE} {'x' * 4_000}"
    local.record(
        factories.make_alert(
            event="00000000000000e5", headline=HOSTILE, evidence=("bluesky|h",), quotes=("bluesky|h",),
            place=alerts.Place(name=HOSTILE, country="ZZ", lat=1, lon=2, radius_km=3, confidence=0.5),
        ),
        view=local.view("local"),
        steps=[local.candidate("bluesky|h", text=text, author="<script>alert(1)</script>", url="javascript:alert(1)")],
    )  # fmt: skip
    async with opened(browser, local, "/#00000000000000e5") as page:
        assert await page.locator(".head h2").text_content() == HOSTILE
        assert await page.locator(".posts blockquote").text_content() == text
        await expect(page.locator(".posts .author")).to_have_text("<script>alert(1)</script>")
        await expect(page.locator(".posts a")).to_have_count(0)
        await page.get_by_role("button", name="Show all of it").click()
        await expect(page.locator(".posts li")).to_have_class("whole")
        sources = await page.evaluate("[...document.images].map((image) => new URL(image.src).pathname)")
        assert set(sources) == {"/static/icon.svg"}
        assert await page.evaluate("document.querySelectorAll('main script').length") == 0
        assert await page.evaluate(
            "document.querySelector('#pane').scrollWidth <= document.querySelector('#pane').clientWidth"
        )


async def test_without_the_capability_evidence_it_says_why_no_post_is_shown(browser, world):
    world.write(directory.add_organisation, Organisation(org="local", name="local", sector="self"), world.now)
    world.grant(org="local", capabilities=("alerts",))
    report(world)
    async with opened(browser, world, f"/#{EVENT}") as page:
        await expect(page.locator(".locked")).to_contain_text(
            "not shown: local has no grant for evidence from bluesky."
        )
        await expect(page.locator("#past")).to_be_hidden()
        assert "text of" not in await page.content()


async def test_a_revocation_takes_everything_off_the_page(browser, local):
    async with opened(browser, local, f"/#{EVENT}", expected="404") as page:
        await expect(page.locator(".head h2")).to_have_text(ALL[0])
        local.revoke(org="local")
        await expect(page.get_by_text("No longer shown")).to_be_visible()
        await expect(page.locator("#nothing")).to_contain_text("Access of local is withdrawn: the provider asked.")
        content = await page.content()
        assert [each for each in (*ALL, "text of") if each in content] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out_in_light_and_in_dark(browser, local, scheme):
    local.wait(minutes=1)
    update(local, kind=alerts.Kind.RETRACTION, level=alerts.Level.FLASH, change="withdrawn by its source")
    async with opened(browser, local, f"/#{EVENT}", color_scheme=scheme) as page:
        await expect(page.locator(".timeline li")).to_have_count(2)
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        dim = sum(map(int, re.findall(r"\d+", ground))) < 3 * 128
        assert dim == (scheme == "dark")
        found = await page.evaluate(
            CONTRASTS,
            ".level, .what, .mark, .headline, .facts span, .foot, .state, .head h2, .change, .known dt, .known dd, "
            ".timeline p, .step time, .posts blockquote, .by *, .part h3, .slack .body *, .discord .body *, .close",
        )
    assert len(found) > 60
    assert [each for each in found if each["ratio"] < 4.5] == []


async def test_on_a_phone_nothing_is_cut_off_and_back_leads_to_the_list(browser, local):
    local.wait(minutes=1)
    update(local, headline="Explosion " + "x" * 300)
    async with opened(browser, local, viewport={"width": 360, "height": 740}, has_touch=True) as page:
        fits = "document.documentElement.scrollWidth <= innerWidth"
        await expect(rows_of(page)).to_have_count(3)
        assert await page.evaluate(fits)
        await rows_of(page).first.tap()
        await expect(page.locator(".head h2")).to_be_visible()
        await expect(page.locator(".land")).to_be_visible()
        assert await page.evaluate(fits)
        assert await page.evaluate("document.querySelector('#pane').scrollWidth <= innerWidth")
        await page.go_back()
        await expect(page.locator("#pane")).to_be_hidden()
        await expect(rows_of(page).first).to_be_visible()


async def test_when_the_service_is_out_of_reach_it_says_so_and_goes_on_by_itself(browser, local):
    async with opened(browser, local, expected="ERR_INTERNET_DISCONNECTED") as page:
        await headlines(page, *ALL)
        await page.context.set_offline(True)
        await expect(page.locator("#state")).to_have_text("Reconnecting")
        await headlines(page, *ALL)
        await page.context.set_offline(False)
        await expect(page.locator("#state")).to_have_text("Live")


async def test_with_a_token_one_signs_in_and_chooses_whose_board_to_see(browser, local):
    local.org("Acme", grant="usgs")
    local.record(
        factories.make_alert(
            event="00000000000000e9", headline="Only for Acme", sources=("usgs",), evidence=("usgs|z",)
        ),
        view=local.view("Acme"),
        steps=[local.candidate("usgs|z")],
    )
    async with opened(browser, local, token=TOKEN, expected="401") as page:
        await page.get_by_label("Token of this board").fill("wrong")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_have_text("this is not the board's token")
        await page.get_by_label("Token of this board").fill(TOKEN)
        await page.keyboard.press("Enter")
        await headlines(page, *ALL)
        await page.get_by_label("Organisation").select_option("Acme")
        await headlines(page, "Only for Acme")
        local.wait(hours=13)
        await expect(page.get_by_label("Token of this board")).to_be_visible()


async def test_without_an_organisation_to_show_it_says_what_to_do(browser, world):
    world.org("Acme")
    async with opened(browser, world) as page:
        await expect(page.locator("#nothing")).to_contain_text("set a token in config.toml")
