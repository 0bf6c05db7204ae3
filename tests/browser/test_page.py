"""The page as a person uses it, in a real Chromium."""

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
    names,
    read,
    switch_language,
    words,
)
from serving import ask

pytestmark = pytest.mark.browser


def test_dropped_photo_is_answered_with_five_bars_in_both_languages(
    page: Page, server_url: str
) -> None:
    answer = ask(server_url, "/v1/classify", CHELSEA.read_bytes())[2]
    scores = [guess["score"] for guess in answer["predictions"]]
    fire(page, "drop", read(CHELSEA))
    card = cards(page, "done")
    expect(card.locator(".name")).to_have_text("chelsea.png")
    expect(card.locator(".size")).to_have_text("451 × 300")
    expect(card.locator(".percent")).to_have_text([f"{score:.1%}" for score in scores])
    best = card.locator("li").first
    expect(best.locator(".label")).to_have_text("tiger cat")
    expect(best.locator(".other")).to_have_text("虎纹猫")
    expect(best.locator(".other")).to_have_attribute("lang", "zh-Hans")
    shares = card.locator(".bar").evaluate_all(
        "bars => bars.map((bar) =>"
        " parseFloat(getComputedStyle(bar, '::before').width) / bar.clientWidth)"
    )
    assert shares == pytest.approx(scores, abs=0.005)
    expect(page.locator("#announcer p")).to_have_text(f"chelsea.png: tiger cat, {scores[0]:.1%}")


def test_card_says_which_model_answered_and_how_long_it_took(page: Page) -> None:
    choose(page, CHELSEA)
    footer = cards(page, "done").locator("footer")
    expect(footer.locator(".model")).to_have_text("efficientnet-lite0 · fp32 · onnxruntime")
    footer.locator("summary").focus()
    page.keyboard.press("Enter")
    stages = [text.split() for text in footer.locator(".stages li").all_inner_texts()]
    assert [stage[0] for stage in stages] == ["decode", "prepare", "wait", "recognise"]
    total = float(footer.locator(".total").inner_text().removesuffix(" ms").replace(",", ""))
    # Each figure is rounded by 0.05 at most.
    assert 0 < sum(float(stage[1].replace(",", "")) for stage in stages) <= total + 0.25
    widths = footer.locator(".times span").evaluate_all(
        "pieces => pieces.map((piece) => piece.clientWidth / piece.parentElement.clientWidth)"
    )
    shares = [float(stage[1].replace(",", "")) / total for stage in stages]
    assert widths == pytest.approx(shares, abs=0.02)


def test_pasted_and_chosen_photos_line_up_newest_first(page: Page) -> None:
    fire(page, "paste", read(CHELSEA))
    with page.expect_file_chooser() as chooser:
        page.locator("#drop").click()
    assert chooser.value.is_multiple()
    chooser.value.set_files([COFFEE, ROCKET])
    expect(cards(page, "done")).to_have_count(3)
    assert names(page) == ["coffee.png", "rocket.jpg", "chelsea.png"]
    best = page.locator(".card li:first-child")
    expect(best.locator(".label")).to_have_text(["espresso", "missile", "tiger cat"])
    expect(best.locator(".other")).to_have_text(["浓缩咖啡", "导弹", "虎纹猫"])
    expect(page.locator("#count")).to_have_text("3 pictures")


def test_preview_shows_before_the_answer_and_nothing_moves_after(
    gated_page: Page, gated: GatedClassifier
) -> None:
    gated.hold()
    choose(gated_page, CHELSEA)
    card = cards(gated_page, "working")
    expect(card.locator(".size")).to_have_text("451 × 300")
    expect(card.locator(".status-text")).to_have_text(words("card.working"))
    expect(card).to_have_attribute("aria-busy", "true")
    assert card.locator("img").evaluate("image => image.naturalWidth") == 451
    before = cards(gated_page).bounding_box()
    gated.let_go()
    expect(cards(gated_page, "done")).to_have_attribute("aria-busy", "false")
    expect(cards(gated_page).locator(".status")).to_be_hidden()
    assert cards(gated_page).bounding_box() == before


def test_four_pictures_are_under_way_and_a_removed_one_is_never_sent(
    gated_page: Page, gated: GatedClassifier
) -> None:
    page, questions = gated_page, collect_questions(gated_page)
    gated.hold()
    choose(page, CHELSEA, COFFEE, ROCKET, CHELSEA, COFFEE, ROCKET)
    expect(cards(page, "working")).to_have_count(4)
    waiting = cards(page, "waiting").locator(".status-text")
    expect(waiting).to_have_text([words("card.waiting")] * 2)
    page.locator(".remove").last.click()
    gated.let_one_go()
    expect(cards(page, "done")).to_have_count(1)
    expect(cards(page, "working")).to_have_count(4)
    gated.let_go()
    expect(cards(page, "done")).to_have_count(5)
    assert len(questions) == 5


def test_drag_over_the_window_is_shown(page: Page) -> None:
    fire(page, "dragover", read(CHELSEA))
    expect(page.locator(".veil")).to_be_visible()
    fire(page, "dragleave", [])
    expect(page.locator(".veil")).to_be_hidden()
    fire(page, "dragover", [])
    expect(page.locator(".veil")).to_be_hidden()


def test_language_switch_keeps_the_cards_and_is_remembered(page: Page, server_url: str) -> None:
    choose(page, CHELSEA)
    expect(cards(page, "done")).to_have_count(1)
    switch_language(page, "zh")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.locator(".card .label").first).to_have_text("虎纹猫")
    expect(page.locator(".card .other").first).to_have_text("tiger cat")
    expect(page.locator(".drop-title.with-mouse")).to_have_text(words("drop.title", "zh"))
    expect(page.locator("#count")).to_have_text("1 张图片")
    expect(page.locator(".stage-name")).to_have_text(["解码", "预处理", "等待", "识别"])
    expect(page.locator(".remove")).to_have_attribute("aria-label", "移除 chelsea.png")
    expect(page).to_have_title(words("page.title", "zh"))
    expect(page.locator('[aria-current="true"]')).to_have_text("中文")
    assert page.url == f"{server_url}/?lang=zh"
    page.goto(server_url)
    expect(page.locator(".headline")).to_have_text(words("hero.title", "zh"))
    page.goto(f"{server_url}/?lang=en")
    page.wait_for_selector("html[data-ready]", state="attached")
    expect(page.locator(".headline")).to_have_text(words("hero.title"))


def test_everything_works_by_keyboard_alone(page: Page) -> None:
    # A standing listener: one added just before the key is pressed may come too late for it.
    page.on("filechooser", lambda chooser: chooser.set_files(CHELSEA))
    for _ in range(page.locator(".top a").count() + 1):
        page.keyboard.press("Tab")
    expect(page.locator("#drop")).to_be_focused()
    assert page.locator("#drop").evaluate("drop => getComputedStyle(drop).outlineStyle") == "solid"
    # The same file twice: the second choice is news too.
    for count, key in enumerate(("Enter", "Space"), start=1):
        page.keyboard.press(key)
        expect(cards(page, "done")).to_have_count(count)
    for name in ("folder", "camera-open", "settings", "save-csv", "save-json", "clear"):
        page.keyboard.press("Tab")
        element = page.locator("#settings summary" if name == "settings" else f"#{name}")
        expect(element).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(cards(page)).to_have_count(1)
    expect(page.locator(".remove")).to_be_focused()
    for name in (".why", ".what-if", ".more summary", ".timing summary"):
        page.keyboard.press("Tab")
        expect(page.locator(f".card {name}")).to_be_focused()
    page.locator(".remove").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#drop")).to_be_focused()
    expect(page.locator("#list")).to_be_hidden()


def test_file_name_is_text_and_never_markup(page: Page) -> None:
    name = "<img src=x onerror=alert(1)> & “q”.png"
    fire(page, "drop", [(name, CHELSEA.read_bytes())])
    expect(cards(page, "done").locator(".name")).to_have_text(name)
    expect(page.locator(".card img")).to_have_count(1)


def test_format_without_preview_gets_a_placeholder(
    gated_page: Page, gradient: Image.Image, tmp_path: Path
) -> None:
    photo = tmp_path / "scan.tiff"
    gradient.save(photo)
    choose(gated_page, photo)
    expect(gated_page.locator(".no-preview")).to_be_visible()
    expect(gated_page.locator(".card img")).to_be_hidden()
    expect(cards(gated_page, "done").locator(".size")).to_have_text("320 × 240")


def test_removed_cards_free_their_previews(page: Page) -> None:
    page.evaluate("""() => {
      window.freed = [];
      URL.revokeObjectURL = (address) => window.freed.push(address);
    }""")
    choose(page, CHELSEA, COFFEE, ROCKET)
    expect(cards(page, "done")).to_have_count(3)
    addresses = page.locator(".card img").evaluate_all("images => images.map(image => image.src)")
    page.locator(".remove").nth(1).click()
    assert names(page) == ["chelsea.png", "rocket.jpg"]
    page.locator("#clear").click()
    expect(cards(page)).to_have_count(0)
    expect(page.locator(".headline")).to_be_visible()
    assert sorted(page.evaluate("window.freed")) == sorted(addresses)


def test_phone_is_told_to_tap_and_scrolls_down_only(
    open_page: Callable[..., Page], server_url: str
) -> None:
    narrow = {"width": 320, "height": 640}
    page = open_page(f"{server_url}/?lang=zh", viewport=narrow, has_touch=True, is_mobile=True)
    expect(page.locator(".with-touch")).to_be_visible()
    expect(page.locator(".with-mouse")).to_be_hidden()
    for language, count in (("zh", 0), ("en", 0), ("en", 1), ("zh", 1)):
        if count and not cards(page).count():
            choose(page, CHELSEA)
        switch_language(page, language)
        expect(page.locator("html")).to_have_attribute("data-language", language)
        expect(cards(page, "done")).to_have_count(count)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_page_follows_the_reader_in_colour_and_motion(
    gated_page: Page, gated: GatedClassifier
) -> None:
    page = gated_page
    for scheme, bright in (("light", True), ("dark", False)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal of its own
        colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (int(colour.split("(")[1].split(",")[0]) > 128) is bright
    gated.hold()
    choose(page, CHELSEA)
    preview = cards(page, "working").locator(".preview")
    for motion, name in (("reduce", "none"), ("no-preference", "search")):
        page.emulate_media(reduced_motion=motion)  # type: ignore[arg-type]  # a literal of its own
        found = preview.evaluate("box => getComputedStyle(box, '::after').animationName")
        assert found == name


def test_page_serves_without_javascript(
    open_page: Callable[..., Page], server_url: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(ROCKET.read_bytes()[:3000])
    for language, label in (("en", "tiger cat"), ("zh", "虎纹猫")):
        page = open_page(f"{server_url}/?lang={language}", java_script_enabled=False)
        expect(page.locator("#drop")).to_be_hidden()
        expect(page.locator("#folder")).to_be_hidden()
        form = page.locator("noscript form")
        expect(form).to_contain_text(words("noscript.text", language))
        form.locator('input[name="image"]').set_input_files(CHELSEA)
        form.locator("button").click()
        expect(page.locator("li").first).to_contain_text(label)
        expect(page.locator("li").first).to_contain_text("39.5%")
        expect(page.locator("main")).to_contain_text("efficientnet-lite0 · fp32")
        page.get_by_text(words("plain.back", language)).click()
        form.locator('input[name="image"]').set_input_files(broken)
        form.locator("button").click()
        expect(page.locator("main")).to_contain_text(words("error.bad_image", language))
        expect(page.locator("main")).to_contain_text(words("error.bad_image.hint", language))
