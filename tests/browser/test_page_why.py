"""Why a class was named: the evidence over the picture on the page."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from browser.gate import GatedClassifier
from browser.gestures import CHELSEA, COFFEE, cards, choose, switch_language, words
from sightbox.classifier import Classifier
from sightbox.errors import DeadlineError
from sightbox.explanation import overlay

pytestmark = pytest.mark.browser

# The picture with the canvas over it, as the card shows both.
COMPOSE = """(preview) => {
  const [image, heat] = [preview.querySelector("img"), preview.querySelector("canvas")];
  const both = document.createElement("canvas");
  [both.width, both.height] = [image.naturalWidth, image.naturalHeight];
  const context = both.getContext("2d");
  for (const layer of [image, heat]) context.drawImage(layer, 0, 0, both.width, both.height);
  return both.toDataURL("image/png").split(",")[1];
}"""


def composed(card: Locator) -> np.ndarray:
    data = card.locator(".preview").evaluate(COMPOSE)
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        return np.asarray(picture.convert("RGB"), np.int16)


def drawn_by_python(classifier: Classifier, photo: Path, place: int = 0) -> np.ndarray:
    answer = classifier.classify(photo, explain=True)
    assert answer.explanation is not None
    with Image.open(photo) as opened:
        upright = opened.convert("RGB")
        if opened.getexif().get(0x0112) == 6:
            upright = upright.transpose(Image.Transpose.ROTATE_270)
    found = overlay(upright, answer.explanation.maps[place], answer.explanation.region)
    return np.asarray(found, np.int16)


def explain(page: Page) -> Locator:
    """Opens the reasons of the first card."""
    card = cards(page, "done").first
    card.locator(".why").click()
    expect(card.locator(".heat")).to_be_visible()
    return card


def test_evidence_looks_as_python_draws_it(page: Page, classifier: Classifier) -> None:
    choose(page, CHELSEA)
    card = explain(page)
    # A canvas keeps colours premultiplied with 8 bits: where it covers little, they are coarse.
    off = np.abs(composed(card) - drawn_by_python(classifier, CHELSEA))
    assert off.mean() < 0.6
    assert off.max() <= 6
    card.locator(".choice").nth(1).click()
    off = np.abs(composed(card) - drawn_by_python(classifier, CHELSEA, place=1))
    assert off.mean() < 0.6


def test_turned_picture_is_explained_upright(
    page: Page, classifier: Classifier, tmp_path: Path
) -> None:
    photo = tmp_path / "turned.png"
    with Image.open(CHELSEA) as upright:
        exif = upright.getexif()
        exif[0x0112] = 6  # turn a quarter clockwise to show it (EXIF 2.32, Orientation)
        upright.transpose(Image.Transpose.ROTATE_90).save(photo, exif=exif)
    choose(page, photo)
    card = explain(page)
    expect(card.locator(".size")).to_have_text("451 × 300")
    assert card.locator(".heat").evaluate("heat => [heat.width, heat.height]") == [451, 300]
    assert np.abs(composed(card) - drawn_by_python(classifier, photo)).mean() < 0.6


def test_sliders_and_classes_work_by_keyboard(page: Page) -> None:
    choose(page, CHELSEA)
    card = cards(page, "done")
    card.locator(".why").focus()
    page.keyboard.press("Enter")
    expect(card.locator(".heat")).to_be_visible()
    full = composed(card)
    page.keyboard.press("Tab")  # what if
    page.keyboard.press("Tab")  # more
    page.keyboard.press("Tab")
    expect(card.get_by_role("radio", name="tiger cat")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(card.get_by_role("radio", name="Egyptian cat")).to_be_checked()
    expect(card.locator(".where")).to_contain_text("Egyptian cat")
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    expect(card.locator(".opacity-value")).to_have_text("0%")
    bare = composed(card)
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    expect(card.get_by_role("slider", name=words("why.threshold"))).to_be_focused()
    before = composed(card)
    page.keyboard.press("End")
    expect(card.locator(".threshold-value")).to_have_text("95%")
    # Only the very strongest is left: nearly all is as without colours.
    left = (composed(card) != bare).any(axis=-1).mean()
    assert 0 < left < 0.1 < (before != bare).any(axis=-1).mean()
    assert (full != bare).any()


def test_words_say_where_the_evidence_is(page: Page, tmp_path: Path) -> None:
    with Image.open(CHELSEA) as photo:
        head = photo.convert("RGB").crop((80, 0, 330, 250)).resize((224, 224))
    for name, corner, key in (
        ("a.png", (224, 224), "lower_right"),
        ("b.png", (0, 0), "upper_left"),
    ):
        canvas = Image.new("RGB", (448, 448), (128, 128, 128))
        canvas.paste(head, corner)
        canvas.save(tmp_path / name)
        choose(page, tmp_path / name)
        expect(cards(page, "done").first.locator(".name")).to_have_text(name)
        card = explain(page)
        label = card.locator("li .label").first.inner_text()
        text = words(f"where.{key}").format(label=label)
        expect(card.locator(".where")).to_have_text(text)
        expect(card.get_by_role("img", name=text)).to_be_visible()
    switch_language(page, "zh")
    expect(card.locator(".where")).to_contain_text("依据位于左上方")
    card.locator(".why").click()
    expect(card.locator(".heat")).to_have_count(0)
    expect(card.locator(".why-panel")).to_have_count(0)


def test_reasons_come_with_each_answer_where_the_address_says_so(
    open_page: Callable[..., Page], server_url: str
) -> None:
    page = open_page(f"{server_url}/?explain=true")
    choose(page, CHELSEA, COFFEE)
    expect(cards(page, "done").locator(".heat")).to_have_count(2)
    expect(page.locator('.why[aria-expanded="true"]')).to_have_count(2)


def test_refused_reasons_are_told_and_may_be_asked_for_again(
    gated_page: Page, gated: GatedClassifier
) -> None:
    choose(gated_page, CHELSEA)
    expect(cards(gated_page, "done")).to_have_count(1)
    gated.refuse(DeadlineError("Late."))
    gated_page.locator(".why").click()
    problem = gated_page.locator(".why-problem")
    expect(problem).to_have_text(words("error.deadline_exceeded"))
    expect(gated_page.locator(".predictions").last.locator("li").first).to_be_visible()
    gated.let_go()
    gated_page.locator(".why").click()
    # The dummy backend has no maps that belong to the weights.
    expect(problem).to_have_text(words("error.backend_failed"))
