"""The settings table: sources, their order, and what is refused."""

import sys
from pathlib import Path

import pytest

from sightbox.errors import ModelError, SettingsError
from sightbox.settings import Settings, load_settings
from sightbox.settings_page import settings_page
from sightbox.settings_table import CONFIG, PREFIX, config_path
from sightbox.store import Store

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
def test_bool_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), "maybe")
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


@pytest.mark.parametrize(
    "token", ["geheimes-wörtchen-1", "a secret of 24 letters", "a" * 20 + "\t"]
)
def test_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(SettingsError, match="letters, digits and signs of ASCII") as caught:
        load_settings(token=token)
    assert token not in str(caught.value)


def test_named_file_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PREFIX + CONFIG, str(tmp_path / "nope.toml"))
    with pytest.raises(SettingsError, match=r"nope\.toml, which is no file"):
        load_settings()


def test_empty_variable_means_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    config_path().write_text("port = 1001\nmodel = ''\nhome = ''\n")
    for name in Settings.model_fields:
        monkeypatch.setenv(PREFIX + name.upper(), "")
    settings = load_settings()
    assert settings.port == 1001
    assert (settings.home, settings.model, settings.allowed_hosts) == (None, None, ())


def test_tilde_in_a_path_is_the_users_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("SIGHTBOX_HOME", "~/box")
    assert load_settings().home == tmp_path / "box"
    assert load_settings(token_file="~/token").token_file == tmp_path / "token"  # noqa: S106
    (tmp_path / "mine.toml").write_text("home = '~nobody-of-this-name'")
    monkeypatch.delenv("SIGHTBOX_HOME")
    monkeypatch.setenv(PREFIX + CONFIG, "~/mine.toml")
    with pytest.raises(SettingsError, match=r"home in .*mine\.toml cannot be .*no such user"):
        load_settings()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every user has a home")
def test_user_without_a_home_needs_only_a_place_for_the_models(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    def unknown(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "SIGHTBOX_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert load_settings().home == home
    monkeypatch.delenv("SIGHTBOX_HOME")
    with pytest.raises(ModelError, match="Name one: SIGHTBOX_HOME"):
        Store(load_settings().home)


def test_token_is_not_shown_in_a_repr() -> None:
    settings = load_settings(token="hunter2hunter2hunter2")  # noqa: S106 - of this test alone
    assert "hunter2" not in f"{settings!r} {settings}"


def test_variable_unlike_any_setting_gets_no_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTBOX_FOO", "1")
    with pytest.raises(SettingsError, match=r"FOO is no setting\. docs/settings\.md lists all"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port =", "cannot be read"),
        ("port = true", "port in .* cannot be True: Input should not be true or false"),
        ("max_wait = true", "max_wait in .* cannot be True"),
        ("allowed_hosts = 'box'", r"allowed_hosts in .* cannot be 'box': .* Write a JSON list"),
        ("prot = 1", "no setting 'prot' in .* Did you mean port"),
    ],
)
def test_error_in_the_file_names_the_file(text: str, told: str) -> None:
    config_path().write_text(text)
    with pytest.raises(SettingsError, match=told) as caught:
        load_settings()
    assert str(config_path()) in str(caught.value)


def test_file_that_is_no_text_is_refused() -> None:
    config_path().write_bytes(b"model = '\xff'")
    with pytest.raises(SettingsError, match=r"sightbox\.toml cannot be read: .*utf-8"):
        load_settings()


@pytest.mark.parametrize("text", ["box.local", '"box.local"', "[1]"])
def test_list_in_the_environment_must_be_json(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SIGHTBOX_ALLOWED_HOSTS", text)
    with pytest.raises(SettingsError, match=r"Write a JSON list: \[\"box\.local\"\]") as caught:
        load_settings()
    assert str(config_path()) not in str(caught.value)


def test_host_names_are_spelled_as_they_are_compared() -> None:
    settings = load_settings(host="Box.Local.", allowed_hosts=["Photos.Example.", "b"])
    assert settings.host == "box.local"
    assert settings.allowed_hosts == ("photos.example", "b")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


def test_docs_page_is_up_to_date() -> None:
    assert (DOCS / "settings.md").read_text("utf-8") == settings_page(), "run: make docs"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_means(name: str) -> None:
    assert (Settings.model_fields[name].description or "").endswith(".")
