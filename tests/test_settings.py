"""The settings table: sources, their order, and what is refused."""

from pathlib import Path

import pytest

from sightbox.errors import SettingsError
from sightbox.settings import CONFIG, PREFIX, Settings, config_path, load_settings, settings_page

DOCS = Path(__file__).parents[1] / "docs"
BOOLS = [name for name, field in Settings.model_fields.items() if field.annotation is bool]


def test_command_line_beats_environment_beats_file_beats_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().port == 8018
    config_path().write_text("port = 1001\ntop_k = 3\n")
    assert load_settings().port == 1001
    monkeypatch.setenv("SIGHTBOX_PORT", "1002")
    assert load_settings().port == 1002
    assert load_settings(port=1003, model=None).port == 1003
    assert load_settings(port=1003).top_k == 3


@pytest.mark.parametrize("name", BOOLS)
@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("1", True), ("false", False), ("0", False), ("no", False)]
)
def test_bool_in_the_environment_means_what_it_says(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: bool
) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), text)
    assert getattr(load_settings(), name) is value


@pytest.mark.parametrize("name", BOOLS)
@pytest.mark.parametrize("text", ["", "maybe"])
def test_bool_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), text)
    with pytest.raises(SettingsError, match=f"The setting {name} cannot be"):
        load_settings()


def test_unknown_environment_variable_is_refused_with_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIGHTBOX_PROT", "9000")
    with pytest.raises(SettingsError, match=r"SIGHTBOX_PROT is no setting.*mean SIGHTBOX_PORT"):
        load_settings()


def test_unknown_name_in_the_file_is_refused_with_a_hint() -> None:
    config_path().write_text("modle = 'resnet18'\n")
    with pytest.raises(SettingsError, match=r"no setting 'modle'.*Did you mean model\?"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "65536"),
        ("port", "http"),
        ("top_k", "0"),
        ("min_score", "1.5"),
        ("backend", "tpu"),
        ("max_megapixels", "0"),
        ("max_body_mb", "nan"),
        ("token", "short"),
        ("allowed_hosts", "box.local"),
    ],
)
def test_bad_value_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_refused_token_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTBOX_TOKEN", "hunter2")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_broken_file_is_refused() -> None:
    config_path().write_text("port =")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings()


def test_named_file_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PREFIX + CONFIG, str(tmp_path / "nope.toml"))
    with pytest.raises(SettingsError, match=r"nope\.toml, which is no file"):
        load_settings()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


def test_docs_page_is_up_to_date() -> None:
    assert (DOCS / "settings.md").read_text("utf-8") == settings_page(), "run: make docs"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_means(name: str) -> None:
    assert (Settings.model_fields[name].description or "").endswith(".")
