"""The teaching page as a class uses it, in a real Chromium, with the real embedded model."""

import io
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torchvision
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from browser.gestures import CHELSEA, COFFEE, fire, read, switch_language
from browser.test_page_access import violations
from serving import ask, serving
from sightbox.calibration import Calibration
from sightbox.catalogue import EMBEDDED, known
from sightbox.classifier import Classifier
from sightbox.graphs import Input, build_graph
from sightbox.model import GRAPH, WEIGHTS, seal, write_model
from sightbox.safetensors import save_safetensors
from sightbox.store import Store
from sightbox.web.lesson import TEXTS
from sightbox.web.pages import SAMPLES, load_catalogue

pytestmark = pytest.mark.browser

STEPS = 18
"""From the bytes to the softmax, with the embedded network."""

RESNET_STEPS = 15
"""The same with a ResNet-18."""

TOKEN = "a-secret-of-16-letters"  # noqa: S105 - no secret


def words(key: str, language: str = "en") -> str:
    """Returns a text of the page's own catalogue, its placeholders unfilled."""
    return load_catalogue(language, TEXTS)[key]


def steps(page: Page) -> Locator:
    return page.locator(".step")


def choose(page: Page, path: Path) -> None:
    page.locator("#chooser").set_input_files(path)
    expect(steps(page)).to_have_count(STEPS)


@pytest.fixture(scope="module")
def home_with_resnet(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the embedded model and a ResNet-18 that has learned nothing."""
    folder = tmp_path_factory.mktemp("two") / "home"
    shutil.copytree(home, folder)
    network = torchvision.models.resnet18(weights=None)
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    card, weights = known("resnet18").card, io.BytesIO()
    save_safetensors(weights, state)
    graph, classes = build_graph("resnet18", state, Input(card.recipe.crop, card.mean, card.std))
    files = {GRAPH: graph, WEIGHTS: weights.getvalue()}
    write_model(seal(replace(card, classes=classes), files), folder / "models")
    return folder


@pytest.fixture
def lesson(open_page: Callable[..., Page], server_url: str) -> Page:
    """The teaching page in English."""
    return open_page(f"{server_url}/how-it-works")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_dropped_photo_is_walked_through_all_steps(
    open_page: Callable[..., Page], server_url: str, language: str
) -> None:
    told = ask(server_url, "/v1/walkthrough", CHELSEA.read_bytes())[2]
    page = open_page(f"{server_url}/how-it-works?lang={language}")
    fire(page, "drop", read(CHELSEA))
    expect(steps(page)).to_have_count(STEPS)
    label = told["best"][0]["label"][language]
    expect(page.locator("#answer")).to_have_text(re.compile(f"^{label}[，,]"))
    shapes = [f"[{', '.join(map(str, step['shape']))}]" for step in told["steps"]]
    expect(page.locator(".step .shape")).to_have_text(shapes)
    for step in steps(page).all():
        expect(step.locator("h2")).to_be_visible()
        text = step.locator(".step-text").inner_text()
        assert not re.search(r"[{}]|undefined|NaN|null", text), text
    names = page.locator(".step-name").all_text_contents()
    assert names[:2] == [words("step.bytes.name", language), words("step.decode.name", language)]
    assert names[7] == words("step.stage.name", language).replace("{number}", "1")
    assert page.locator(".way-name").all_text_contents() == names


def test_softmax_of_a_calibrated_model_divides_by_its_temperature(
    open_page: Callable[..., Page], home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home, tmp_path / "home")
    Store(tmp_path / "home").calibrate(EMBEDDED, Calibration(0.5, 0.8, 0.95, 200, "fp32"))
    with Classifier(home=tmp_path / "home") as classifier, serving(classifier) as url:
        told = ask(url, "/v1/walkthrough", CHELSEA.read_bytes())[2]
        page = open_page(f"{url}/how-it-works")
        choose(page, CHELSEA)
        softmax = page.locator('.step[data-kind="softmax"]')
        expect(softmax.locator(".step-text")).to_contain_text("the model's temperature 0.50;")
        expect(softmax.locator("thead")).to_contain_text(words("lesson.power.scaled"))
        first, second = told["best"][:2]
        power = math.exp((second["logit"] - first["logit"]) / 0.5)
        expect(softmax.locator(".power").nth(1)).to_have_text(f"{power:.4f}")
        assert second["score"] / first["score"] == pytest.approx(power, rel=1e-2)


def test_each_step_shows_its_pictures_and_numbers(lesson: Page) -> None:
    choose(lesson, COFFEE)
    lesson.wait_for_function(
        "[...document.querySelectorAll('.shown img')].every((one) => one.naturalWidth > 0)"
    )
    shown = steps(lesson)
    expect(shown.nth(0).locator(".bytes span")).to_have_count(32)
    expect(shown.nth(0).locator(".bytes span").first).to_have_text("137")
    expect(shown.nth(4).locator(".photos img")).to_have_count(2)
    expect(shown.nth(5).locator(".photos figcaption")).to_have_text(["Red", "Green", "Blue"])
    for place in range(6, 15):
        expect(shown.nth(place).locator(".planes img")).to_have_count(12)
        side = shown.nth(place).locator(".planes img").first.evaluate("one => one.naturalWidth")
        assert f", {side}]" in shown.nth(place).locator(".shape").inner_text()
    expect(shown.nth(8).locator(".addition")).to_have_count(1)
    expect(shown.nth(12).locator(".addition")).to_have_count(3)
    expect(shown.nth(12).locator(".addition").first.locator("img")).to_have_count(3)
    expect(lesson.locator(".bars")).to_have_count(2)
    expect(lesson.locator(".best tbody tr")).to_have_count(5)
    expect(lesson.locator(".best th[scope=row]").first).to_have_text("espresso")


def test_what_a_residual_block_is_is_told_once(lesson: Page) -> None:
    choose(lesson, CHELSEA)
    expect(lesson.locator(".residual")).to_have_count(5)
    expect(lesson.get_by_text(words("lesson.residual.text"))).to_have_count(5)
    assert [one.is_visible() for one in lesson.locator(".residual > p").all()] == [
        True,
        *[False] * 4,
    ]


def test_times_add_up_and_turning_has_none_of_its_own(lesson: Page) -> None:
    choose(lesson, CHELSEA)
    times = lesson.locator(".step .time").all_inner_texts()
    assert times[0] == words("lesson.none")
    assert times[2] == words("lesson.with_decoding")
    measured = [float(time.removesuffix(" ms").replace(",", "")) for time in times if "ms" in time]
    assert len(measured) == STEPS - 2
    told = re.search(r"([\d,.]+) ms", lesson.locator("#by").inner_text())
    assert told is not None
    # Each figure is rounded by 0.05 at most.
    assert float(told[1].replace(",", "")) == pytest.approx(sum(measured), abs=1)


@pytest.mark.parametrize("drawing", SAMPLES)
def test_drawing_is_named_right(lesson: Page, drawing: str) -> None:
    lesson.locator(f"[data-sample={drawing}]").click()
    expect(steps(lesson)).to_have_count(STEPS)
    name = "clock" if drawing == "clock" else drawing.replace("-", " ")
    expect(lesson.locator("#answer")).to_contain_text(name)
    expect(steps(lesson).nth(1).locator(".shape")).to_have_text("[480, 640, 3]")


def test_another_network_is_chosen_and_walked(
    open_page: Callable[..., Page], classifier: Classifier, home_with_resnet: Path
) -> None:
    with serving(classifier, home=home_with_resnet) as url:
        page = open_page(f"{url}/how-it-works")
        choose(page, CHELSEA)
        page.get_by_label(words("lesson.model")).select_option("resnet18")
        expect(steps(page)).to_have_count(RESNET_STEPS)
        expect(page.locator("#by")).to_contain_text("ResNet-18")
        expect(page.locator("#model")).to_have_value("resnet18")
        expect(page.locator(".step .shape").nth(7)).to_have_text("[1, 64, 56, 56]")
        expect(page.locator(".step .tensor").nth(7)).to_have_text("maxpool")
        expect(page.locator(".step-text").nth(7)).to_have_text(
            words("step.pool.text").replace("{width}", "56").replace("{height}", "56")
        )
        expect(page.locator(".step .shape").nth(12)).to_have_text("[1, 512]")
        # Stage 1 has two blocks whose input is added as it is, each of the others one.
        expect(page.locator(".addition")).to_have_count(5)


def test_language_switch_keeps_the_walk(lesson: Page, server_url: str) -> None:
    choose(lesson, CHELSEA)
    times = lesson.locator(".way-time").all_text_contents()
    switch_language(lesson, "zh")
    expect(lesson.locator("#answer")).to_contain_text("虎纹猫")
    expect(lesson.locator(".step-name").first).to_have_text(words("step.bytes.name", "zh"))
    expect(lesson.locator(".facts dt").first).to_have_text(words("lesson.shape", "zh"))
    assert lesson.locator(".way-time").all_text_contents() == times
    assert lesson.url == f"{server_url}/how-it-works?lang=zh"


def test_photo_of_a_tilted_camera_is_turned_before_the_eyes(
    lesson: Page, gradient: Image.Image
) -> None:
    tags, file = Image.Exif(), io.BytesIO()
    tags[274] = 6
    gradient.save(file, "JPEG", exif=tags)
    fire(lesson, "paste", [("tilted.jpg", file.getvalue())])
    expect(steps(lesson)).to_have_count(STEPS)
    turn = steps(lesson).nth(2)
    expect(turn.locator(".shape")).to_have_text("[320, 240, 3]")
    expect(turn.locator("figcaption")).to_have_text(
        [words("lesson.photo.stored"), words("lesson.photo.turned")]
    )
    expect(turn.locator(".step-text")).to_contain_text("EXIF orientation 6")


def test_steps_are_reached_by_keyboard_alone(lesson: Page) -> None:
    lesson.on("filechooser", lambda chooser: chooser.set_files(CHELSEA))
    for _ in range(4):
        lesson.keyboard.press("Tab")
    expect(lesson.locator("#drop")).to_be_focused()
    lesson.keyboard.press("Enter")
    expect(steps(lesson)).to_have_count(STEPS)
    for _ in range(len(SAMPLES) + 1):
        lesson.keyboard.press("Tab")
    expect(lesson.locator("#print")).to_be_focused()
    for _ in range(3):
        lesson.keyboard.press("Tab")
    expect(lesson.locator(".way a").nth(2)).to_be_focused()
    lesson.keyboard.press("Enter")
    assert lesson.url.endswith("#step-3")
    expect(steps(lesson).nth(2)).to_be_in_viewport()


def test_both_pages_lead_to_each_other(page: Page, server_url: str) -> None:
    page.get_by_role("link", name=load_catalogue("en")["lesson.here"]).click()
    expect(page.locator("h1")).to_have_text(words("lesson.headline"))
    page.wait_for_selector("html[data-ready]", state="attached")
    page.get_by_role("link", name=words("lesson.home")).click()
    expect(page).to_have_url(f"{server_url}/")


def test_file_that_is_no_picture_is_told_and_the_next_one_is_walked(lesson: Page) -> None:
    fire(lesson, "drop", [("notes.txt", b"no picture at all")])
    problem = lesson.locator("#problem")
    expect(problem.locator("h2")).to_have_text(load_catalogue("en")["error.unsupported_format"])
    expect(steps(lesson)).to_have_count(0)
    choose(lesson, CHELSEA)
    expect(problem).to_be_hidden()


def test_phone_scrolls_down_only(open_page: Callable[..., Page], server_url: str) -> None:
    narrow = {"width": 320, "height": 640}
    page = open_page(f"{server_url}/how-it-works", viewport=narrow, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    choose(page, CHELSEA)
    for language in ("zh", "en"):
        switch_language(page, language)
        expect(page.locator("html")).to_have_attribute("data-language", language)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_page_prints_the_steps_and_not_its_buttons(lesson: Page) -> None:
    choose(lesson, CHELSEA)
    lesson.emulate_media(media="print")
    for hidden in ("#drop", ".samples", ".way", "#print", ".languages"):
        expect(lesson.locator(hidden)).to_be_hidden()
    expect(steps(lesson).last).to_be_visible()
    assert lesson.pdf(format="A4").startswith(b"%PDF")


def test_page_follows_the_reader_in_colour_and_motion(lesson: Page) -> None:
    choose(lesson, CHELSEA)
    step = steps(lesson).first
    for motion, name in (("reduce", "none"), ("no-preference", "arrive")):
        lesson.emulate_media(reduced_motion=motion)  # type: ignore[arg-type]  # a literal of its own
        assert step.evaluate("box => getComputedStyle(box).animationName") == name
    lesson.emulate_media(color_scheme="dark")
    colour = step.evaluate("box => getComputedStyle(box).backgroundColor")
    assert int(colour.split("(")[1].split(",")[0]) < 128


def test_token_is_asked_for_on_the_page(
    open_page: Callable[..., Page], classifier: Classifier, home: Path
) -> None:
    with serving(classifier, home=home, token=TOKEN) as url:
        page = open_page(f"{url}/how-it-works")
        page.locator("#chooser").set_input_files(CHELSEA)
        expect(page.locator("#working-text")).to_have_text(words("lesson.locked"))
        page.locator("#token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(steps(page)).to_have_count(STEPS)
        expect(page.locator("#unlock")).to_be_hidden()


def test_without_javascript_the_page_says_where_to_go(
    open_page: Callable[..., Page], server_url: str
) -> None:
    page = open_page(f"{server_url}/how-it-works", java_script_enabled=False)
    expect(page.locator("noscript p")).to_contain_text(words("lesson.noscript"))
    expect(page.locator("#drop")).to_be_hidden()
    expect(page.locator(".samples")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1280, 320])
def test_no_rule_is_broken(
    open_page: Callable[..., Page], server_url: str, scheme: str, language: str, width: int
) -> None:
    viewport = {"width": width, "height": 800}
    address = f"{server_url}/how-it-works?lang={language}"
    page = open_page(address, color_scheme=scheme, viewport=viewport)
    assert violations(page) == []
    choose(page, CHELSEA)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
