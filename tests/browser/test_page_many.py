"""Many pictures at once: folders, progress, stopping, and a page that stays light."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from browser.gate import GatedClassifier
from browser.gestures import (
    CHELSEA,
    COFFEE,
    ROCKET,
    cards,
    choose,
    collect_questions,
    fire,
    module,
    names,
    words,
)

pytestmark = pytest.mark.browser

MANY = 200

# Long tasks and the most requests under way, from now on.
WATCH = """() => {
  window.long = [];
  new PerformanceObserver((list) => window.long.push(...list.getEntries().map((e) => e.duration)))
    .observe({ type: "longtask" });
}"""

SCROLL = """async () => {
  for (let y = 0; y < document.documentElement.scrollHeight; y += 600) {
    scrollTo(0, y);
    await new Promise(requestAnimationFrame);
  }
}"""


def drop_paths(page: Page, *paths: Path) -> None:
    """Drops files and folders as the desktop does."""
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder with pictures in its folders, and what else lies in folders."""
    folder = tmp_path / "album"
    (folder / "trip" / "day 2").mkdir(parents=True)
    (folder / ".trash").mkdir()
    for path in ("10.png", "9.png", "trip/day 2/a.png", ".hidden.png", ".trash/b.png"):
        shutil.copy(CHELSEA, folder / path)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_dropped_folder_gives_its_pictures_by_name(gated_page: Page, album: Path) -> None:
    drop_paths(gated_page, COFFEE, album)
    expect(cards(gated_page, "done")).to_have_count(4)
    assert names(gated_page) == [
        "coffee.png", "album/9.png", "album/10.png", "album/trip/day 2/a.png",
    ]  # fmt: skip


def test_chosen_folder_gives_its_pictures_and_an_empty_one_says_so(
    gated_page: Page, album: Path, tmp_path: Path
) -> None:
    with gated_page.expect_file_chooser() as chooser:
        gated_page.locator("#folder").click()
    chooser.value.set_files(album)
    expect(cards(gated_page, "done")).to_have_count(3)
    assert names(gated_page)[0] == "album/9.png"
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no picture")
    drop_paths(gated_page, empty)
    expect(gated_page.locator("#hint")).to_have_text(words("drop.no_picture"))


def test_two_hundred_pictures_are_answered_in_order_and_scroll_without_a_long_task(
    gated_page: Page, tmp_path: Path
) -> None:
    page, questions = gated_page, collect_questions(gated_page)
    photos = []
    for number in range(MANY):
        photos.append(tmp_path / f"{number:03}.jpg")
        Image.new("RGB", (320, 240), (number, 255 - number, 90)).save(photos[-1])
    photos[7].write_bytes(b"no picture")
    page.evaluate(
        """() => {
          window.under = window.most = 0;
          const send = XMLHttpRequest.prototype.send;
          XMLHttpRequest.prototype.send = function (body) {
            window.most = Math.max(window.most, ++window.under);
            this.addEventListener("readystatechange", () => {
              if (this.readyState === XMLHttpRequest.DONE) window.under -= 1;
            });
            send.call(this, body);
          };
        }"""
    )
    choose(page, *photos)
    expect(page.locator("#count")).to_have_text(f"{MANY} pictures", timeout=60_000)
    assert names(page) == [photo.name for photo in photos]
    expect(cards(page, "done")).to_have_count(MANY - 1)
    expect(cards(page, "failed").locator(".name")).to_have_text("007.jpg")
    assert len(questions) == MANY
    assert page.evaluate("window.most") <= 4
    text = words("say.all").format(count=MANY, done=MANY - 1, failed=1)
    expect(page.locator("#announcer p")).to_have_text(text)
    page.evaluate(WATCH)
    page.evaluate(SCROLL)
    # The machine's own pauses count as well: the bound is not that of a quiet one, 50 ms.
    assert max(page.evaluate("window.long"), default=0) < 250


def test_clearing_ends_a_drop_that_is_still_coming_in(gated_page: Page) -> None:
    questions = collect_questions(gated_page)
    gated_page.evaluate(
        """async (address) => {
          const { take, clear } = await import(address);
          const done = take(Array.from({ length: 100 }, (_, n) => new File(["x"], `${n}.png`)));
          clear();
          await done;
        }""",
        module("pictures"),
    )
    expect(cards(gated_page)).to_have_count(0)
    assert len(questions) < 20
    choose(gated_page, CHELSEA)
    expect(cards(gated_page, "done")).to_have_count(1)


def test_stopped_pictures_stay_and_can_be_tried_again(
    gated_page: Page, gated: GatedClassifier
) -> None:
    page = gated_page
    gated.hold()
    choose(page, CHELSEA, COFFEE, ROCKET, CHELSEA, COFFEE, ROCKET)
    expect(cards(page, "working")).to_have_count(4)
    progress = words("list.progress")
    expect(page.locator("#count")).to_have_text(progress.format(done=0, count=6))
    page.locator("#stop").click()
    expect(cards(page, "stopped")).to_have_count(6)
    expect(page.locator("#stop")).to_be_hidden()
    gated.let_go()
    again = cards(page, "stopped").first
    expect(again.locator(".status-text")).to_have_text(words("card.stopped"))
    again.get_by_role("button", name=words("card.retry")).click()
    expect(cards(page, "done")).to_have_count(1)
    expect(cards(page, "stopped")).to_have_count(5)


def test_slow_upload_shows_how_far_it_is(gated_page: Page, gated: GatedClassifier) -> None:
    page = gated_page
    devtools = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", slow)
    gated.hold()
    fire(page, "drop", [("large.png", CHELSEA.read_bytes() * 4)])
    status = cards(page).locator(".status-text")
    page.wait_for_function(
        "() => /Sending: [1-9][0-9]? %/.test(document.querySelector('.status-text').textContent)"
    )
    expect(status).to_have_text(words("card.working"))
    gated.let_go()
    expect(cards(page, "done")).to_have_count(1)


def test_drawings_are_recognised_as_what_they_are(page: Page) -> None:
    expected = {
        "balloon": ["balloon"],
        "umbrella": ["umbrella"],
        "traffic-light": ["traffic light"],
        "clock": ["wall clock", "analog clock"],
    }
    for count, (name, labels) in enumerate(expected.items(), start=1):
        # They make room for the pictures, and come back with an empty list.
        page.locator(f'[data-sample="{name}"]').click()
        card = cards(page, "done")
        expect(card.locator(".name")).to_have_text(f"{name}.png")
        assert card.locator("li .label").first.inner_text() in labels, count
        page.locator("#clear").click()


def test_drawings_have_names_in_both_languages(
    open_page: Callable[..., Page], gated_url: str
) -> None:
    for language in ("en", "zh"):
        page = open_page(f"{gated_url}/?lang={language}")
        name = words("sample.traffic-light", language)
        page.get_by_role("button", name=name).click()
        expect(cards(page, "done")).to_have_count(1)
