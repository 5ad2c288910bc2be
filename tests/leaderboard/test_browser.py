"""The pages in a real browser, at the widths of a desk and of a phone: clicked through, without JavaScript."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright")

from playwright.sync_api import sync_playwright
from serving import served

from leaderboard.export import export
from leaderboard.server import Settings
from leaderboard.store import Store, open_store

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = {"desk": (1200, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is there")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, submissions: list[Path]) -> Store:
    store = open_store(tmp_path_factory.mktemp("browser") / "store")
    for folder in submissions:
        store.verify(store.submit(folder, "ada").id)
    store.withdraw(store.records()[-1].id, "a tombstone")
    return store


@pytest.fixture(scope="module", params=["server", "files"])
def home(request: pytest.FixtureRequest, shown: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The first page, of a server and of an export on disk."""
    if request.param == "server":
        with served(shown, Settings(verify=False)) as url:
            yield f"{url}/"
    else:
        site = tmp_path_factory.mktemp("site") / "site"
        export(shown, site)
        yield (site / "index.html").as_uri()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_reader_clicks_through_every_page(browser: Any, home: str, width: str, shown: Store) -> None:
    wide, high = WIDTHS[width]
    page = browser.new_page(viewport={"width": wide, "height": high}, java_script_enabled=False)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("requestfailed", lambda asked: "ABORTED" in asked.failure or complaints.append(asked.url))

    def looks_right(heading: str) -> None:
        assert heading in page.inner_text("h1")
        assert page.locator("html").bounding_box()["width"] <= wide  # type: ignore[index]
        assert page.evaluate("document.documentElement.scrollWidth") <= wide
        assert page.evaluate("getComputedStyle(document.querySelector('.brand')).textDecorationLine") == "none"
        assert complaints == []

    page.goto(home)
    looks_right("Teams of language models")
    page.click("text=chain 1")
    looks_right("chain 1")
    names = page.locator("td.system a").all_inner_texts()
    assert names == sorted(names)  # system 0 is the best, and so on
    assert len(names) == 5
    sort = page.locator("a:visible", has_text="tokens").first
    sort.click()
    assert len(page.locator("td.system a").all_inner_texts()) == 5
    page.locator("a:visible", has_text="closed-trained").first.click()
    assert page.locator("td.system a").count() == 0
    page.go_back()
    page.go_back()
    assert page.locator("figure.plot svg").count() == 5
    assert page.locator("figure.plot svg").first.bounding_box()["height"] > 150  # type: ignore[index]
    page.click("td.system a >> nth=0")
    looks_right("system 0")
    assert page.locator(".checks .good").count() == 3
    assert page.locator(".network svg circle").count() == 1
    page.click("text=Read what the nodes said")
    looks_right("What the nodes said")
    assert page.locator("details.episode").count() == 16
    assert "=" in page.inner_text("details[open] .said")
    page.click(".path a")
    page.click("h2:has-text('Compare with') + ul a >> nth=1")
    looks_right("less")
    assert "points" in page.inner_text(".verdict")
    page.click(".path a")
    page.click(".tombs a")
    looks_right("system 5")
    assert "a tombstone" in page.inner_text(".alert")
    page.click(".brand")
    page.click(".tags a")
    looks_right("untrained")
    assert page.locator("figure.plot circle").count() == 5
    page.close()
