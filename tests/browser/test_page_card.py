"""What a card says of an answer, and what can be taken from it."""

import csv
import io
import json
from collections.abc import Callable
from functools import partial

import pytest
from playwright.sync_api import Page, Route, expect

from browser.gestures import (
    CHELSEA,
    CLASSIFY,
    COFFEE,
    cards,
    choose,
    module,
    switch_language,
    words,
)
from serving import ask

pytestmark = pytest.mark.browser

READ_CLIPBOARD = "navigator.clipboard.readText()"
MAY_COPY = ["clipboard-read", "clipboard-write"]


def answer_with(page: Page, *scores: float, sure: bool | None = None) -> None:
    """Lets the box answer with these scores for the classes first, second, ..."""
    names = ("first", "second", "third")
    predictions = [
        {"index": n, "wnid": None, "label": {"en": names[n], "zh": f"第{n}"}, "score": score}
        for n, score in enumerate(scores)
    ]
    answer = {
        "model": {"name": "made", "variant": "fp32", "backend": "up"},
        "predictions": predictions,
        "sure": sure,
        "timings_ms": {"decode": 1, "preprocess": 1, "queue": 0, "infer": 2, "total": 4},
        "image": {"width": 451, "height": 300, "format": "PNG"},
    }
    page.unroute_all()
    page.route(CLASSIFY, partial(Route.fulfill, json=answer))


@pytest.mark.parametrize(
    ("scores", "key"),
    [
        ((0.41, 0.3), "sure"),
        ((0.55, 0.44), "sure"),
        ((0.39, 0.01), "unsure"),
        ((0.5, 0.41), "unsure"),
        ((0.3,), "alone"),
        ((), "none"),
    ],
)
def test_verdict_names_both_candidates_where_the_answer_is_not_sure(
    page: Page, scores: tuple[float, ...], key: str
) -> None:
    answer_with(page, *scores)
    choose(page, CHELSEA)
    verdict = cards(page, "done").locator(".verdict")
    names = {"first": "first", "second": "second", "label": "first"}
    expect(verdict).to_have_text(words(f"verdict.{key}").format(**names))
    switch_language(page, "zh")
    names = {"first": "第0", "second": "第1", "label": "第0"}
    expect(verdict).to_have_text(words(f"verdict.{key}", "zh").format(**names))


@pytest.mark.parametrize(("sure", "key"), [(True, "sure"), (False, "unsure")])
def test_threshold_of_the_card_decides_what_is_sure(page: Page, *, sure: bool, key: str) -> None:
    # By the page's own rule each would be the other way round.
    answer_with(page, *((0.3, 0.29) if sure else (0.9, 0.05)), sure=sure)
    choose(page, CHELSEA)
    verdict = cards(page, "done").locator(".verdict")
    expect(verdict).to_have_text(words(f"verdict.{key}").format(first="first", second="second"))
    assert ("unsure" in (verdict.get_attribute("class") or "")) is not sure


def test_ids_are_shown_on_demand(page: Page) -> None:
    choose(page, CHELSEA)
    card = cards(page, "done")
    wnid = card.locator(".wnid").first
    expect(wnid).to_be_hidden()
    card.locator(".more summary").click()
    button = card.get_by_role("button", name=words("more.ids"))
    for shown in (True, False):
        button.click()
        expect(button).to_have_attribute("aria-pressed", str(shown).lower())
        expect(wnid).to_be_visible(visible=shown)
    expect(wnid).to_have_text("282 · n02123159")


def test_answer_is_copied_as_json_csv_and_markdown(
    open_page: Callable[..., Page], server_url: str
) -> None:
    expected = ask(server_url, "/v1/classify", CHELSEA.read_bytes())[2]
    page = open_page(server_url, permissions=MAY_COPY)
    choose(page, CHELSEA)
    card = cards(page, "done")
    card.locator(".more summary").click()
    copied = {}
    for form in ("JSON", "CSV", "Markdown"):
        card.get_by_role("button", name=form, exact=True).click()
        expect(card.locator(".copied")).to_have_text(words("copy.done").format(form=form))
        copied[form] = page.evaluate(READ_CLIPBOARD)
    told = json.loads(copied["JSON"])
    assert told["file"] == "chelsea.png"
    assert told["predictions"] == expected["predictions"]
    rows = list(csv.DictReader(io.StringIO(copied["CSV"])))
    assert [row["zh"] for row in rows] == [one["label"]["zh"] for one in expected["predictions"]]
    assert rows[0] | {"file": "chelsea.png", "rank": "1", "wnid": "n02123159"} == rows[0]
    assert "### chelsea.png\n\n| en | zh | % |" in copied["Markdown"]
    assert "| tiger cat | 虎纹猫 | 39.5% |" in copied["Markdown"]


def test_copying_works_without_the_clipboard_object(
    open_page: Callable[..., Page], server_url: str
) -> None:
    """A page that came over a network without TLS has none."""
    page = open_page(server_url, permissions=MAY_COPY)
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    choose(page, CHELSEA)
    cards(page, "done").locator(".more summary").click()
    page.get_by_role("button", name="Markdown").click()
    expect(page.locator(".copied").first).to_have_text("Copied Markdown")
    assert "tiger cat" in page.evaluate(READ_CLIPBOARD)


def test_all_answers_are_saved_in_the_order_of_the_page(page: Page) -> None:
    choose(page, COFFEE, CHELSEA)
    expect(cards(page, "done")).to_have_count(2)
    with page.expect_download() as download:
        page.locator("#save-csv").click()
    assert download.value.suggested_filename == "sightbox.csv"
    text = download.value.path().read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["file"] for row in rows] == ["coffee.png"] * 5 + ["chelsea.png"] * 5
    with page.expect_download() as download:
        page.locator("#save-json").click()
    results = json.loads(download.value.path().read_text("utf-8"))["results"]
    assert [one["file"] for one in results] == ["coffee.png", "chelsea.png"]


def test_no_spreadsheet_takes_a_file_name_for_a_formula(page: Page) -> None:
    text = page.evaluate(
        """async (address) => {
          const { toCsv } = await import(address);
          const error = { code: "bad_image", detail: "" };
          return toCsv(["=1+1.png", 'a,"b".png'].map((name) => ({ name, error })));
        }""",
        module("report"),
    )
    rows = list(csv.reader(io.StringIO(text)))
    assert [row[0] for row in rows[1:]] == ["'=1+1.png", 'a,"b".png']
    assert {len(row) for row in rows} == {12}
    assert rows[1][rows[0].index("error")] == "bad_image"
