"""The camera, as Chromium plays one from a file."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from browser.gate import GatedClassifier
from browser.gestures import (
    cards,
    collect_questions,
    names,
    switch_language,
    words,
)
from sightbox.errors import BackendError, QueueFullError

pytestmark = pytest.mark.browser


def test_camera_names_what_it_sees_with_its_pace(
    film: Callable[[str], Page], server_url: str
) -> None:
    page = film(server_url)
    camera = page.locator("#camera")
    expect(camera).to_have_accessible_name(words("camera.title"))
    expect(camera.locator("li .label").first).to_have_text("espresso")
    number = r"[\d.,]+"
    pattern = words("camera.pace").format(rate=number, age=number)
    page.wait_for_function(
        "(pattern) => new RegExp(pattern).test(document.getElementById('camera-pace').textContent)",
        arg=pattern,
    )
    expect(camera.get_by_label(words("camera.choice")).locator("option")).to_have_count(1)
    switch_language(page, "zh")
    expect(camera.locator("li .label").first).to_have_text("浓缩咖啡")
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.locator("#camera-keep").click()
    expect(cards(page, "done")).to_have_count(1)
    assert names(page) == ["camera-picture.jpg"]
    page.locator("#camera-close").click()
    expect(page.locator("#camera")).to_be_hidden()
    expect(page.locator("#camera-open")).to_be_focused()
    assert page.locator("video").evaluate("video => video.srcObject") is None


def test_only_the_latest_frame_is_sent_and_a_full_box_is_waited_for(
    film: Callable[[str], Page], gated_url: str, gated: GatedClassifier
) -> None:
    gated.refuse(QueueFullError("Full."))
    page = film(gated_url)
    expect(page.locator("#camera-problem")).to_have_text(words("error.queue_full"))
    gated.refuse(None)
    expect(page.locator("#camera-problem")).to_be_empty()
    questions = collect_questions(page)
    gated.hold()
    page.wait_for_function("() => new Promise((done) => setTimeout(() => done(true), 300))")
    # Nine frames have passed; one is under way, and perhaps one was before it.
    assert len(questions) <= 2
    gated.let_go()
    gated.refuse(BackendError("Out of order."))
    expect(page.locator("#camera-problem")).to_have_text(words("error.backend_failed"))
    expect(page.locator("#camera-view")).to_be_hidden()
    gated.let_go()
    page.locator("#camera-open").click()
    expect(page.locator("#camera-view")).to_be_visible()


def test_camera_that_is_refused_absent_or_out_of_reach_has_its_words(
    open_page: Callable[..., Page], gated_url: str
) -> None:
    reasons = {
        "NotAllowedError": "camera.refused",
        "NotFoundError": "camera.absent",
        "NotReadableError": "camera.taken",
        "AbortError": "camera.failed",
    }
    page = open_page(gated_url)
    for name, key in reasons.items():
        page.evaluate(
            """(name) => {
              navigator.mediaDevices.getUserMedia = () =>
                Promise.reject(new DOMException("no", name));
            }""",
            name,
        )
        page.locator("#camera-open").click()
        expect(page.locator("#camera-problem")).to_have_text(words(key))
        expect(page.locator("#announcer p").last).to_have_text(words(key))
    far = "Object.defineProperty(window, 'isSecureContext', { value: false });"
    page = open_page(f"{gated_url}/?lang=zh", first=far)
    page.locator("#camera-open").click()
    expect(page.locator("#camera-problem")).to_have_text(words("camera.insecure", "zh"))
    page.locator("#camera-close").click()
    expect(page.locator("#camera")).to_be_hidden()
