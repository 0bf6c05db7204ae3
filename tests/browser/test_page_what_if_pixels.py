"""What if the picture were different: the pixels that are asked about."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from browser.gestures import CHELSEA, COFFEE, cards, choose
from browser.what_if import (
    GREY,
    ask_what_if,
    chelsea,
    drag,
    point,
    sent,
    sent_picture,
    settle,
    slide,
    view_of,
    words,
)
from sightbox.classifier import Classifier

pytestmark = pytest.mark.browser


def test_pixels_are_what_the_words_say(watched: Page) -> None:
    page = watched
    ask_what_if(page)
    original = chelsea()
    slide(page, "brightness", 150)
    brighter = np.clip(np.rint(original * 1.5), 0, 255)
    assert np.abs(np.asarray(sent_picture(page)) - brighter).max() <= 1  # halves go either way
    page.keyboard.press("Control+z")
    slide(page, "degrees", 90)
    turned = np.rot90(original, -1)
    assert np.abs(np.asarray(sent_picture(page), int) - turned).max() <= 1
    page.keyboard.press("Control+z")
    slide(page, "quality", 20)
    assert sent(page)[:3] == b"\xff\xd8\xff"
    assert len(sent(page)) < 10_000
    # What is shown has lost what the JPEG lost.
    shown = (
        view_of(page)
        .locator("canvas")
        .evaluate("canvas => [...canvas.getContext('2d').getImageData(100, 100, 1, 1).data]")
    )
    jpeg = np.asarray(sent_picture(page), int)[100, 100]
    assert np.abs(jpeg - shown[:3]).max() <= 2


def test_brush_covers_with_grey_or_blurs(watched: Page) -> None:
    page = watched
    view = ask_what_if(page)
    original = chelsea().astype(int)
    high, wide = original.shape[:2]
    drag(page, (0.5, 0.5), (0.7, 0.5))
    grey = np.asarray(sent_picture(page), int)
    assert tuple(grey[high // 2, int(0.6 * wide)]) == GREY
    radius = round(0.2 * high / 2)
    same = (grey == original).all(axis=-1)
    assert not same[high // 2 - radius + 3 : high // 2 + radius - 3, int(0.6 * wide)].any()
    assert same[: high // 2 - radius - 3].all()
    assert same[high // 2 + radius + 3 :].all()
    page.keyboard.press("Control+z")
    view.get_by_role("radio", name=words("whatif.blur")).check()
    drag(page, (0.5, 0.5), (0.7, 0.5))
    blurred = np.asarray(sent_picture(page), int)
    band = np.s_[high // 2 - 15 : high // 2 + 15, int(0.52 * wide) : int(0.68 * wide)]
    assert (
        np.abs(np.diff(blurred[band], axis=0)).mean()
        < 0.4 * np.abs(np.diff(original[band], axis=0)).mean()
    )
    assert np.abs(blurred[band].mean(axis=(0, 1)) - original[band].mean(axis=(0, 1))).max() < 12
    assert (blurred[: high // 2 - radius - 3] == original[: high // 2 - radius - 3]).all()


def test_crop_keeps_what_was_dragged_over(watched: Page) -> None:
    page = watched
    view = ask_what_if(page)
    view.get_by_role("radio", name=words("whatif.crop"), exact=True).check()
    drag(page, (0.75, 0.9), (0.25, 0.3))
    original = chelsea()
    high, wide = original.shape[:2]
    cropped = np.asarray(sent_picture(page))
    assert abs(cropped.shape[0] - 0.6 * high) <= 2
    assert abs(cropped.shape[1] - 0.5 * wide) <= 2
    # Where a pointer was is known to a pixel or two; from there on each pixel is the photo's.
    tops, lefts = (
        range(round(share * side) - 2, round(share * side) + 3)
        for share, side in ((0.3, high), (0.25, wide))
    )
    rows, columns = cropped.shape[:2]
    assert any(
        np.array_equal(original[top : top + rows, left : left + columns], cropped)
        for top, left in product(tops, lefts)
    )
    expect(view.locator("#whatif-sent")).to_contain_text(f"{cropped.shape[1]} × {cropped.shape[0]}")


def test_paint_comes_under_the_pointer_of_a_turned_and_cropped_picture(watched: Page) -> None:
    page = watched
    view = ask_what_if(page)
    slide(page, "degrees", 30)
    view.get_by_role("radio", name=words("whatif.crop"), exact=True).check()
    drag(page, (0.3, 0.3), (0.8, 0.7))
    slide(page, "degrees", 75)
    view.get_by_role("radio", name=words("whatif.grey")).check()
    before = np.asarray(sent_picture(page), int)
    drag(page, (0.25, 0.75), (0.25, 0.75))
    after = np.asarray(sent_picture(page), int)
    rows_, columns = np.nonzero((before != after).any(axis=-1))
    assert abs(rows_.mean() / after.shape[0] - 0.75) < 0.03
    assert abs(columns.mean() / after.shape[1] - 0.25) < 0.03
    # It stays on its place of the picture when that is turned on, here by half a turn.
    slide(page, "degrees", -105)
    turned = np.asarray(sent_picture(page), int)
    assert np.abs(turned - np.rot90(after, 2)).mean() < 3


def test_one_who_cannot_drag_taps_and_presses(watched: Page) -> None:
    page = watched
    view = ask_what_if(page)
    view.get_by_role("radio", name=words("whatif.crop"), exact=True).check()
    view.locator("#whatif-crop-size input").fill("50")
    page.mouse.click(*point(page, 0.9, 0.3))
    view.get_by_role("button", name=words("whatif.crop_now")).click()
    settle(page)
    original = chelsea()
    # At the edge as far as it goes.
    cropped = np.asarray(sent_picture(page))
    assert cropped.shape[:2] == (150, 225)
    assert (cropped[:, -1:] == original[15:165, -1:]).all()


def test_large_photo_is_scaled_and_the_drift_is_said(
    watched: Page, tmp_path: Path, classifier: Classifier
) -> None:
    page, photo = watched, tmp_path / "large.png"
    rng = np.random.default_rng(0)
    with Image.open(COFFEE) as coffee:
        large = np.asarray(coffee.convert("RGB").resize((2400, 1600)), int)
    noisy = np.clip(large + rng.normal(0, 60, large.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(photo, compress_level=1)
    view = ask_what_if(page, photo)
    slide(page, "brightness", 90)
    assert sent_picture(page).size == (1024, 683)
    before = classifier.classify(photo, top_k=1000).predictions
    redrawn = classifier.classify(sent(page, -2), top_k=1000).predictions
    shown = {one.index for one in (*before[:5], *redrawn[:5])}
    then, since = ({one.index: one.score for one in all_} for all_ in (before, redrawn))
    drift = max(abs(then[index] - since[index]) for index in shown)
    assert drift > 0.0005
    text = words("whatif.drift").format(points=f"{100 * drift:.1f}")
    expect(view.locator("#whatif-drift")).to_have_text(text)


def test_transparent_and_turned_picture_is_seen_as_the_box_sees_it(
    watched: Page, tmp_path: Path
) -> None:
    page, photo = watched, tmp_path / "turned.png"
    with Image.open(CHELSEA) as upright:
        picture = upright.convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    expected = Image.new("RGB", picture.size, "white")
    expected.paste(picture, mask=picture.getchannel("A"))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to show it (EXIF 2.32, Orientation)
    picture.transpose(Image.Transpose.ROTATE_90).save(photo, exif=exif)
    ask_what_if(page, photo)
    view_of(page).locator("input[value=crop]").check()
    view_of(page).locator("#whatif-crop-size input").fill("100")
    view_of(page).get_by_role("button", name=words("whatif.crop_now")).click()
    settle(page)
    seen = np.asarray(sent_picture(page), int)
    assert np.abs(seen - np.asarray(expected, int)).max() <= 2


def test_picture_that_the_browser_cannot_show_is_not_offered(
    gated_page: Page, tmp_path: Path
) -> None:
    photo = tmp_path / "scan.tiff"
    with Image.open(CHELSEA) as picture:
        picture.save(photo)
    choose(gated_page, photo)
    expect(cards(gated_page, "done")).to_have_count(1)
    expect(gated_page.locator(".why")).to_be_visible()
    expect(gated_page.locator(".what-if")).to_be_hidden()
