"""Pictures to pixels, byte for byte as torchvision prepares a Pillow picture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as torchvision

from sightbox import preprocessing as subject
from sightbox.errors import ImageError, ModelError
from sightbox.preprocessing import Fit, Interpolation, Pixels, Recipe, prepare

FILTERS: list[Interpolation] = ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
NOISE = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(NOISE[:height, :width])


def by_torchvision(image: Image.Image, recipe: Recipe) -> Pixels:
    resized = torchvision.resize(image, [recipe.resize], InterpolationMode(recipe.interpolation))
    return np.array(torchvision.center_crop(resized, [recipe.crop]))


def assert_like_torchvision(image: Image.Image, recipe: Recipe) -> None:
    prepared = prepare(image, recipe)
    assert prepared.dtype == np.uint8
    assert prepared.shape == (recipe.crop, recipe.crop, 3)
    assert prepared.flags.c_contiguous
    assert np.array_equal(prepared, by_torchvision(image, recipe))


# Even and odd differences, no difference, a crop larger than the resized picture, tiny sizes.
SIZES = [(32, 28), (33, 20), (16, 15), (17, 17), (20, 31), (9, 30), (40, 7), (1, 1), (1, 4)]


@settings(max_examples=600, derandomize=True, database=None, deadline=None)
@given(
    width=st.integers(1, 600),
    height=st.integers(1, 600),
    size=st.sampled_from(SIZES),
    interpolation=st.sampled_from(FILTERS),
)
def test_crop_is_torchvisions(
    width: int, height: int, size: tuple[int, int], interpolation: Interpolation
) -> None:
    assert_like_torchvision(noise(width, height), Recipe(*size, interpolation))


@pytest.mark.parametrize("size", [(256, 224), (232, 224), (235, 224), (224, 300)], ids=str)
@pytest.mark.parametrize("interpolation", FILTERS)
def test_photo_is_torchvisions(interpolation: Interpolation, size: tuple[int, int]) -> None:
    folder = Path(skimage.__file__).parent / "data"
    for name in ("chelsea.png", "rocket.jpg"):
        with Image.open(folder / name) as photo:
            for image in (photo.convert("RGB"), photo.convert("RGB").rotate(90, expand=True)):
                assert_like_torchvision(image, Recipe(*size, interpolation))


@pytest.mark.parametrize("width", [32, 33, 34, 35, 36, 37, 60])
@pytest.mark.parametrize("crop", [31, 30, 29, 28, 32])
def test_picture_of_the_right_size_is_only_cropped(width: int, crop: int) -> None:
    assert_like_torchvision(noise(width, 32), Recipe(32, crop, "bicubic"))
    assert_like_torchvision(noise(32, width), Recipe(32, crop, "bicubic"))


def outline(prepared: Pixels) -> list[str]:
    """Each row as text: ``#`` where a pixel is white, ``.`` where it is black."""
    return ["".join("#" if pixel[0] == 255 else "." for pixel in row) for row in prepared]


@pytest.mark.parametrize(
    ("fit", "size", "expected"),
    [
        ("squash", (8, 2), ["####"] * 4),
        ("squash", (1, 9), ["####"] * 4),
        ("pad", (8, 8), ["####"] * 4),
        ("pad", (8, 4), ["....", "####", "####", "...."]),
        ("pad", (4, 8), [".##."] * 4),
        ("pad", (8, 3), ["....", "####", "....", "...."]),
        ("pad", (500, 1), ["....", "####", "....", "...."]),
        ("pad", (1, 1), ["####"] * 4),
        ("crop", (8, 2), [".....", ".####", ".####", ".....", "....."]),
    ],
)
def test_picture_fits_the_square(fit: Fit, size: tuple[int, int], expected: list[str]) -> None:
    recipe = Recipe(resize=2, crop=len(expected), interpolation="bilinear", fit=fit)
    prepared = prepare(Image.new("RGB", size, "white"), recipe)
    if fit == "crop":
        assert np.array_equal(prepared, by_torchvision(Image.new("RGB", size, "white"), recipe))
    else:
        assert outline(prepared) == expected


def test_squash_is_one_resize() -> None:
    recipe = Recipe(resize=1, crop=24, interpolation="bicubic", fit="squash")
    expected = noise(50, 90).resize((24, 24), Image.Resampling.BICUBIC)
    assert np.array_equal(prepare(noise(50, 90), recipe), np.asarray(expected))


@pytest.mark.parametrize(
    "recipe", [Recipe(32, 28, "bilinear"), Recipe(32, 28, "box", "pad"), Recipe(9, 28, "box")]
)
def test_given_array_is_written(recipe: Recipe) -> None:
    batch = np.full((3, 28, 28, 3), 77, np.uint8)
    row = batch[1]
    assert prepare(noise(50, 40), recipe, out=row) is row
    assert np.array_equal(batch[1], prepare(noise(50, 40), recipe))
    assert (batch[[0, 2]] == 77).all()


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("size", [(1, 65_535), (65_535, 1), (3, 10_000), (10_000, 3)], ids=str)
def test_extremely_long_picture_takes_little_memory(
    size: tuple[int, int], fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 0
    resize: Callable[..., Image.Image] = Image.Image.resize

    def watched(image: Image.Image, size: tuple[int, int], *rest: object) -> Image.Image:
        nonlocal largest
        result = resize(image, size, *rest)
        largest = max(largest, size[0] * size[1])
        return result

    monkeypatch.setattr(Image.Image, "resize", watched)
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    largest = 0
    prepared = prepare(picture, Recipe(256, 224, "bilinear", fit))
    assert prepared.any()
    assert 0 < largest <= subject.MAX_WHOLE_PIXELS


@settings(max_examples=100, derandomize=True, database=None, deadline=None)
@given(short=st.integers(1, 40), long=st.integers(1, 600), upright=st.booleans())
def test_resize_of_the_kept_part_is_nearly_torchvisions(
    short: int, long: int, upright: bool
) -> None:
    recipe = Recipe(32, 28, "bilinear")
    image = noise(short, long) if upright else noise(long, short)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "MAX_WHOLE_PIXELS", 0)
        difference = prepare(image, recipe).astype(int) - by_torchvision(image, recipe)
    assert abs(difference).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_other_mode_is_bad_image(mode: str) -> None:
    with pytest.raises(ImageError, match=f"mode {mode} .*to_rgb"):
        prepare(Image.new(mode, (4, 4)), Recipe(4, 4, "bilinear"))


def test_empty_picture_is_bad_image() -> None:
    with pytest.raises(ImageError, match="4 x 0 pixels"):
        prepare(Image.new("RGB", (4, 0)), Recipe(4, 4, "bilinear"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resize": 0}, "0 and 4 px"),
        ({"crop": -1}, "4 and -1 px"),
        ({"interpolation": "cubic"}, "interpolation 'cubic' is unknown"),
        ({"fit": "stretch"}, "fit 'stretch' is unknown"),
    ],
)
def test_senseless_recipe_is_bad_model(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Recipe(**{"resize": 4, "crop": 4, "interpolation": "box", **fields})  # type: ignore[arg-type] # on purpose
