"""The report opened in headless Chromium: silent, alone, readable on a phone, in the dark, by keyboard."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hostile_cohort import HOSTILE, HOSTILE_NAME

from harvester.audits.report import gather, render

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SCREENS = [("desktop", "light"), ("phone", "dark")]


@dataclass
class Opened:
    """A page in the browser, and what it did."""

    page: "playwright.Page"
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def ask(self, script: str) -> object:
        return self.page.evaluate(script)


@pytest.fixture(scope="module")
def file(hostile: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    page = render(gather(hostile, ("PatientName", "SeriesDescription", "SliceThickness")))
    file.write_text(page, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser(file: Path) -> "Iterator[playwright.Browser]":
    del file  # is made first: playwright keeps an event loop in this thread, and a crawl wants its own
    with playwright.sync_playwright() as started:
        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []  # Chromium has none for root
        browser = started.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(params=SCREENS, ids="-".join)
def opened(request: pytest.FixtureRequest, browser: "playwright.Browser", file: Path) -> "Iterator[Opened]":
    size, scheme = request.param
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    opened = Opened(context.new_page())
    opened.page.on("request", lambda one: opened.requests.append(one.url))
    opened.page.on("console", lambda one: opened.said.append(one.text))
    opened.page.on("pageerror", lambda one: opened.said.append(str(one)))
    opened.page.goto(file.as_uri())
    yield opened
    context.close()


def test_the_page_opens_without_a_word_and_asks_for_nothing(opened: Opened, file: Path) -> None:
    opened.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert opened.said == []
    assert opened.requests == [file.as_uri()]
    assert opened.page.title() == "dataset - harvester report"


def test_markup_is_shown_as_text(opened: Opened) -> None:
    opened.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert opened.ask("document.querySelectorAll('script, img, iframe, object').length") == 0
    shown = opened.page.inner_text("main")
    assert HOSTILE in shown
    assert HOSTILE_NAME in shown


def test_charts_are_drawn_within_the_page_and_named(opened: Opened) -> None:
    charts = opened.page.get_by_role("img").all()
    assert len(charts) >= 6
    width = opened.page.viewport_size["width"]
    for chart in charts:
        box = chart.bounding_box()
        assert box["width"] > 250
        assert box["height"] > 30
        assert box["x"] + box["width"] <= width
        assert chart.get_attribute("aria-label")
    assert opened.ask("document.documentElement.scrollWidth <= innerWidth")


def test_text_stands_out_from_its_ground(opened: Opened) -> None:
    luminance = """selector => {
        const one = document.querySelector(selector), style = getComputedStyle(one);
        let ground = one;
        const bare = it => getComputedStyle(it).backgroundColor === 'rgba(0, 0, 0, 0)';
        while (bare(ground)) ground = ground.parentElement;
        const of = text => text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const colour = one instanceof SVGElement ? style.fill : style.color;
        const [a, b] = [of(colour), of(getComputedStyle(ground).backgroundColor)].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    }"""
    for selector in (
        "h1",
        "header p",
        "nav a",
        ".cards dt",
        ".badge",
        ".count",
        "figure svg text",
        "summary",
    ):
        assert opened.page.evaluate(luminance, selector) >= 4.5, selector


def test_findings_open_by_keyboard(opened: Opened) -> None:
    opened.page.locator("details.rule summary").first.focus()
    opened.page.keyboard.press("Enter")
    assert opened.ask("document.querySelector('details.rule').open") is True
    opened.page.keyboard.press("Tab")
    assert opened.ask("document.activeElement.tagName") in ("SUMMARY", "A", "DIV")


def test_the_first_stop_of_the_keyboard_leads_to_the_content(opened: Opened) -> None:
    opened.page.keyboard.press("Tab")
    assert opened.ask("document.activeElement.getAttribute('href')") == "#main"


def test_on_paper_it_is_dark_on_white_and_its_examples_are_there(opened: Opened) -> None:
    opened.page.emulate_media(media="print")
    assert opened.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.ask("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert opened.page.locator("details.rule li").first.bounding_box()["height"] > 0


def test_a_wide_screen_is_used(browser: "playwright.Browser", file: Path) -> None:
    page = browser.new_page(viewport={"width": 2560, "height": 1440})
    page.goto(file.as_uri())
    boxes = "[...document.querySelectorAll('main > section')].map(one => one.getBoundingClientRect())"
    assert page.evaluate(f"Math.max(...{boxes}.map(one => one.right))") > 2400
    assert page.evaluate(f"new Set({boxes}.map(one => one.left)).size") >= 3
    page.close()
