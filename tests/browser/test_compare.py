"""The page that compares, in a real Chromium, against real servers."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from browser.gate import GatedClassifier
from browser.gestures import (
    CHELSEA,
    COFFEE,
    PHOTOS,
    ROCKET,
    choose,
    collect_questions,
    fire,
    read,
    stop_clock,
    switch_language,
)
from browser.test_page_access import violations
from serving import ask, serving
from shelf import put_model, put_models
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.errors import DeadlineError, QueueFullError
from sightbox.model import EXACT
from sightbox.web.comparison import TEXTS
from sightbox.web.pages import load_catalogue

pytestmark = pytest.mark.browser

GRASS, PAGE = PHOTOS / "grass.png", PHOTOS / "page.png"
SIDES = ("left", "right")
WAYS = {"left": "exact", "right": "nearest"}
"""Two ways that differ with any model: single pixels make another picture of fine texture."""

ADDRESS = "left_preprocessing=exact&right_preprocessing=nearest"
TOKEN = "a-secret-of-24-characters"  # noqa: S105 - it guards nothing


def words(key: str, language: str = "en", **values: object) -> str:
    """Returns a text of the page, its placeholders filled."""
    return (load_catalogue(language) | load_catalogue(language, TEXTS))[key].format(**values)


def pairs(page: Page, state: str = "") -> Locator:
    """Finds all rows, or those in one state."""
    return page.locator(f'.pair[data-state="{state}"]' if state else ".pair")


def names(page: Page) -> list[str]:
    return page.locator(".pair .name").all_text_contents()


def asked(page: Page) -> dict[str, str]:
    """Returns the settings in the address."""
    return {name: found[0] for name, found in parse_qs(urlsplit(page.url).query).items()}


def answers(url: str, photo: Path) -> dict[str, Any]:
    """Returns what the box says to a photo by itself on each side, many classes."""
    return {
        side: ask(url, f"/v1/classify?top_k=20&preprocessing={way}", photo.read_bytes())[2]
        for side, way in WAYS.items()
    }


def change(found: dict[str, Any]) -> tuple[bool, float]:
    """Returns whether both sides name the same class first, and how much its score differs."""
    scores = {
        side: {one["index"]: one["score"] for one in found[side]["predictions"]} for side in SIDES
    }
    firsts = [found[side]["predictions"][0]["index"] for side in SIDES]
    changes = [abs(scores["left"].get(one, 0) - scores["right"].get(one, 0)) for one in firsts]
    return firsts[0] == firsts[1], max(changes)


@pytest.fixture
def shelf_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with small models for the dummy backend, no two alike."""
    home = tmp_path_factory.mktemp("shelf")
    put_models(home)
    with (
        Classifier("first", backend=DummyBackend(), home=home) as classifier,
        serving(classifier, home=home, backend="dummy") as url,
    ):
        yield url


@pytest.fixture
def compare(open_page: Callable[..., Page], server_url: str) -> Page:
    """The page with the real model, exact on the left, the quickest preparation on the right."""
    return open_page(f"{server_url}/compare?{ADDRESS}")


@pytest.fixture
def gated_compare(open_page: Callable[..., Page], gated_url: str) -> Page:
    """The page of the classifier behind the gate."""
    return open_page(f"{gated_url}/compare?{ADDRESS}")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_disagreements_come_first_and_then_the_largest_changes(
    open_page: Callable[..., Page], server_url: str, language: str
) -> None:
    photos = (COFFEE, PAGE, CHELSEA, GRASS, ROCKET)
    found = {photo.name: answers(server_url, photo) for photo in photos}
    told = {name: change(one) for name, one in found.items()}
    assert [same for same, _ in told.values()].count(False) == 2
    page = open_page(f"{server_url}/compare?lang={language}&{ADDRESS}")
    choose(page, *photos)
    expect(pairs(page, "different")).to_have_count(2)
    expect(pairs(page, "same")).to_have_count(3)
    wanted = sorted(told, key=lambda name: (told[name][0], -told[name][1]))
    assert wanted[:2] == ["grass.png", "page.png"]
    assert names(page) == wanted
    first, last = pairs(page).first, pairs(page).last
    tops = {side: found["grass.png"][side]["predictions"][0] for side in SIDES}
    labels = {side: one["label"][language] for side, one in tops.items()}
    expect(first.locator(".difference")).to_have_text(
        words("compare.different", language, **labels)
    )
    for place, side in enumerate(SIDES):
        shown = first.locator(".side").nth(place).locator("li")
        expect(shown).to_have_count(5)
        expect(shown.first.locator(".label")).to_have_text(labels[side])
        expect(shown.first.locator(".percent")).to_have_text(f"{tops[side]['score']:.1%}")
    rise = [found[wanted[-1]][side]["predictions"][0]["score"] for side in SIDES]
    key = "compare.higher" if rise[1] > rise[0] else "compare.lower"
    points = f"{100 * abs(rise[1] - rise[0]):.1f}"
    expect(last.locator(".difference")).to_have_text(words(key, language, points=points))
    changes = [one for _, one in told.values()]
    expect(page.locator("#agreement")).to_have_text(
        words("compare.agreement.value", language, percent="60.0%", same=3, compared=5)
    )
    expect(page.locator("#change")).to_have_text(
        words(
            "compare.change.value",
            language,
            mean=f"{100 * sum(changes) / 5:.1f}",
            largest=f"{100 * max(changes):.1f}",
        )
    )
    by = "efficientnet-lite0 · fp32"
    left, right = (words(f"compare.{side}", language) for side in SIDES)
    sides = [f"{left} · {by}", f"{right} · {by} · {words('compare.nearest', language)}"]
    expect(first.locator(".side-name")).to_have_text(sides)
    expect(page.locator("#time")).to_contain_text("ms" if language == "en" else "毫秒")
    expect(page.locator("#announcer p").last).to_have_text(
        words("compare.say", language, compared=5, same=3, failed=0)
    )


def test_broken_file_among_many_shows_its_reason_in_its_own_row(
    compare: Page, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(ROCKET.read_bytes()[:3000])
    choose(compare, COFFEE, broken, CHELSEA)
    expect(pairs(compare, "same")).to_have_count(2)
    row = pairs(compare, "failed")
    expect(row.locator(".name")).to_have_text("broken.jpg")
    expect(row.locator(".difference")).to_have_text(words("compare.none"))
    # Both sides failed for the same reason: it is told once, with no way to try in vain.
    expect(row.locator(".side:visible")).to_have_count(1)
    expect(row.locator(".problem-title:visible")).to_have_text(words("error.bad_image"))
    expect(row.locator(".retry:visible")).to_have_count(0)
    assert names(compare)[-1] == "broken.jpg"
    expect(compare.locator("#failed")).to_have_text(words("compare.failed", failed=1))
    expect(compare.locator("#agreement")).to_contain_text("2 of 2")


def test_two_models_are_suggested_chosen_and_kept_in_the_address(
    open_page: Callable[..., Page], shelf_url: str
) -> None:
    page = open_page(f"{shelf_url}/compare")
    questions = collect_questions(page)
    left, right = page.locator("#left-model"), page.locator("#right-model")
    expect(left).to_have_value("first")
    expect(right).to_have_value("east")
    choose(page, CHELSEA)
    expect(pairs(page, "different")).to_have_count(1)
    expect(page.locator(".side-name")).to_have_text(["Left · first · fp32", "Right · east · fp32"])
    assert len(questions) == 2
    page.get_by_role("group", name=words("compare.right")).get_by_label(
        words("set.model")
    ).select_option("north")
    expect(page.locator(".side-name").last).to_have_text("Right · north · fp32")
    # The other side's answer stands: it was not asked again.
    assert len(questions) == 3
    assert asked(page)["right"] == "north"
    again = open_page(page.url)
    expect(again.locator("#left-model")).to_have_value("first")
    expect(again.locator("#right-model")).to_have_value("north")


def test_fp32_and_int8_of_a_model_are_suggested_where_both_are_here(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    put_model(tmp_path, "first", 5, variants=("int8",))
    with (
        Classifier("first", backend=DummyBackend(), home=tmp_path) as classifier,
        serving(classifier, home=tmp_path, backend="dummy") as url,
    ):
        page = open_page(f"{url}/compare")
        expect(page.locator("#left-model")).to_have_value(f"first/{EXACT}")
        expect(page.locator("#right-model")).to_have_value("first/int8")
        choose(page, CHELSEA)
        expect(page.locator(".side-name")).to_have_text(
            ["Left · first · fp32", "Right · first · int8"]
        )
        expect(page.locator(".difference")).to_have_text(words("compare.same"))
        page.locator("#left-model").select_option("first/int8")
        expect(page.locator("#form-same")).to_be_visible()
        expect(page.locator(".side-name").first).to_have_text("Left · first · int8")


def test_lone_model_is_compared_with_a_faster_preparation(
    open_page: Callable[..., Page], server_url: str
) -> None:
    page = open_page(f"{server_url}/compare")
    expect(page.locator("#right-preprocessing")).to_have_value("fast")
    expect(page.locator("#left-preprocessing")).to_have_value("exact")
    assert asked(page)["right_preprocessing"] == "fast"


def test_what_the_address_names_and_the_box_lacks_falls_back(
    open_page: Callable[..., Page], shelf_url: str
) -> None:
    page = open_page(
        f"{shelf_url}/compare?left=gone&left_variant=int8&right=%3Cb%3E&right_preprocessing=magic"
        "&top_k=2"
    )
    expect(page.locator("#left-model option").first).to_have_text(words("set.model_own"))
    expect(page.locator("#left-model")).to_have_value("")
    expect(page.locator("#right-model")).to_have_value("")
    expect(page.locator("#right-preprocessing")).to_have_value("exact")
    expect(page.locator("#form-same")).to_be_visible()
    choose(page, CHELSEA)
    expect(page.locator(".side").first.locator("li")).to_have_count(2)
    page.get_by_label(words("set.top_k")).fill("3")
    page.keyboard.press("Enter")
    expect(page.locator(".side").first.locator("li")).to_have_count(3)
    assert asked(page)["top_k"] == "3"


def test_comparison_is_saved_as_csv_and_json(compare: Page, tmp_path: Path) -> None:
    formula = tmp_path / "=1.png"
    formula.write_bytes(GRASS.read_bytes())
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    choose(compare, COFFEE, formula, broken)
    expect(compare.locator("#stop")).to_be_hidden()
    with compare.expect_download() as saved:
        compare.locator("#save-csv").click()
    text = Path(saved.value.path()).read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["file"] for row in rows] == ["'=1.png", "coffee.png", "broken.jpg"]
    assert [row["same"] for row in rows] == ["false", "true", ""]
    assert (rows[1]["left_en"], rows[1]["right_zh"]) == ("espresso", "浓缩咖啡")
    assert (rows[2]["left_error"], rows[2]["right_error"]) == ("unsupported_format",) * 2
    with compare.expect_download() as saved:
        compare.locator("#save-json").click()
    told = json.loads(Path(saved.value.path()).read_text("utf-8"))
    assert told["ways"]["right"]["preprocessing"] == "nearest"
    assert told["summary"]["compared"] == 2
    assert told["summary"]["agreement"] == 0.5
    assert [one["file"] for one in told["results"]] == ["=1.png", "coffee.png", "broken.jpg"]
    assert len(told["results"][0]["left"]["predictions"]) == 5
    assert told["results"][2]["left"]["error"]["code"] == "unsupported_format"


def test_stopped_pictures_stay_and_go_on_and_clearing_leaves_nothing(
    gated_compare: Page, gated: GatedClassifier
) -> None:
    page = gated_compare
    gated.hold()
    choose(page, CHELSEA, COFFEE, ROCKET)
    expect(page.locator("#count")).to_have_text(words("list.progress", done=0, count=3))
    expect(pairs(page, "pending")).to_have_count(3)
    page.locator("#stop").click()
    expect(pairs(page, "stopped")).to_have_count(3)
    expect(pairs(page).first.locator(".difference")).to_have_text(words("card.stopped"))
    gated.let_go()
    row = pairs(page, "stopped").first
    row.get_by_role("button", name=words("card.retry")).click()
    expect(pairs(page, "stopped")).to_have_count(2)
    expect(page.locator("#agreement")).to_be_visible()
    expect(page.locator(".pair:focus")).to_have_count(1)
    page.locator("#clear").click()
    expect(pairs(page)).to_have_count(0)
    expect(page.locator("#list")).to_be_hidden()
    expect(page.locator("#drop")).to_be_focused()


def test_full_box_is_asked_again_and_a_failure_by_a_person(
    open_page: Callable[..., Page], gated_url: str, gated: GatedClassifier
) -> None:
    page = open_page(f"{gated_url}/compare?{ADDRESS}")
    stop_clock(page)
    gated.refuse(QueueFullError("Full."))
    choose(page, CHELSEA)
    expect(page.locator(".difference")).to_have_text(words("card.busy", seconds=1))
    gated.refuse(DeadlineError("Late."))
    page.clock.run_for(1000)
    expect(pairs(page, "failed").locator(".problem-title:visible")).to_have_text(
        words("error.deadline_exceeded")
    )
    gated.refuse(None)
    page.locator(".retry:visible").click()
    expect(pairs(page, "failed")).to_have_count(0)
    expect(page.locator("#figures")).to_be_visible()


def test_server_gone_is_told_and_what_was_answered_stays(
    open_page: Callable[..., Page], dummy: Classifier
) -> None:
    with ExitStack() as server:
        page = open_page(f"{server.enter_context(serving(dummy))}/compare?{ADDRESS}")
        choose(page, CHELSEA)
        expect(page.locator("#figures")).to_be_visible()
    choose(page, COFFEE)
    row = pairs(page, "failed")
    expect(row.locator(".problem-title:visible")).to_have_text(words("error.network"))
    expect(row.locator(".retry:visible")).to_have_count(1)
    assert names(page) == ["chelsea.png", "coffee.png"]


def test_silent_box_is_told_beside_the_models_and_can_be_asked_again(
    open_page: Callable[..., Page], shelf_url: str
) -> None:
    page = open_page(
        f"{shelf_url}/compare",
        first="const real = fetch; window.down = true;"
        "window.fetch = (path, ...more) => window.down && String(path).includes('v1/models')"
        "? Promise.reject(new TypeError('down')) : real(path, ...more);",
    )
    expect(page.locator("#form-problem")).to_have_text(words("error.network"))
    switch_language(page, "zh")
    expect(page.locator("#form-problem")).to_have_text(words("error.network", "zh"))
    page.evaluate("window.down = false")
    page.locator("#form-again").click()
    expect(page.locator("#right-model")).to_have_value("east")
    expect(page.locator("#form-problem")).to_be_empty()
    expect(page.locator("#form-again")).to_be_hidden()


def test_token_is_asked_for_and_pictures_wait_for_it(
    open_page: Callable[..., Page], dummy: Classifier, home: Path
) -> None:
    with serving(dummy, home=home, token=TOKEN) as url:
        page = open_page(f"{url}/compare?{ADDRESS}")
        choose(page, CHELSEA)
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#unlock")).to_be_hidden()
        expect(page.locator("#figures")).to_be_visible()


def test_language_switch_keeps_the_rows(compare: Page) -> None:
    choose(compare, GRASS)
    expect(pairs(compare, "different")).to_have_count(1)
    time = compare.locator("#time").inner_text().split(" ms")[0]
    switch_language(compare, "zh")
    expect(compare.locator(".difference")).to_contain_text("结果不同")
    expect(compare.locator("#time")).to_contain_text(f"左边 {time} 毫秒")
    expect(compare.locator("#left-model option").first).to_have_text(words("set.model_own", "zh"))
    assert asked(compare)["lang"] == "zh"


def test_page_is_used_by_keyboard_alone(compare: Page) -> None:
    compare.on("filechooser", lambda chooser: chooser.set_files([CHELSEA, GRASS]))
    compare.locator("#top-k").focus()
    compare.keyboard.press("Tab")
    expect(compare.locator("#drop")).to_be_focused()
    compare.keyboard.press("Enter")
    expect(pairs(compare, "different")).to_have_count(1)
    expect(pairs(compare, "same")).to_have_count(1)
    for wanted in ("#folder", "#save-csv", "#save-json", "#clear"):
        compare.keyboard.press("Tab")
        expect(compare.locator(wanted)).to_be_focused()
    compare.keyboard.press("Enter")
    expect(pairs(compare)).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1280, 320])
def test_no_view_breaks_a_rule(
    open_page: Callable[..., Page], server_url: str, scheme: str, language: str, width: int
) -> None:
    page = open_page(
        f"{server_url}/compare?lang={language}&{ADDRESS}",
        color_scheme=scheme,
        viewport={"width": width, "height": 800},
    )
    expect(page.locator("#left-model option")).not_to_have_count(1)
    assert violations(page) == []
    fire(page, "drop", [*read(CHELSEA, GRASS), ("broken.jpg", ROCKET.read_bytes()[:3000])])
    expect(pairs(page, "different")).to_have_count(1)
    expect(pairs(page, "same")).to_have_count(1)
    expect(pairs(page, "failed")).to_have_count(1)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_pictures_that_differ_alike_keep_their_order_and_are_asked_twice(
    gated_compare: Page,
) -> None:
    page, questions = gated_compare, collect_questions(gated_compare)
    fire(page, "drop", [(f"{number:03}.jpg", CHELSEA.read_bytes()) for number in range(60)])
    expect(page.locator("#count")).to_have_text(words("list.many", count=60), timeout=60_000)
    # All differ alike: they stay in the order in which they came.
    assert names(page) == [f"{number:03}.jpg" for number in range(60)]
    assert len(questions) == 120


def test_first_page_leads_here_and_back(page: Page, server_url: str) -> None:
    page.get_by_role("link", name=words("foot.compare")).click()
    page.wait_for_selector("html[data-ready]", state="attached")
    expect(page.locator("h1")).to_have_text(words("compare.headline"))
    page.get_by_role("link", name=words("compare.home")).click()
    expect(page).to_have_url(f"{server_url}/")


def test_without_javascript_the_page_says_where_to_go(
    open_page: Callable[..., Page], server_url: str
) -> None:
    page = open_page(f"{server_url}/compare?lang=zh", java_script_enabled=False)
    expect(page.locator("noscript p")).to_contain_text(words("compare.noscript", "zh"))
    expect(page.locator("#drop")).to_be_hidden()
    expect(page.locator("#form")).to_be_hidden()
    page.locator("noscript a").click()
    expect(page.locator("form[method=post]")).to_be_visible()
