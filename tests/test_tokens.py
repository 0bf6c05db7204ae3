"""The token that a server makes for itself: once, for its owner alone, and never shown again."""

import os
import re
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from commandline import SIGHTBOX, run
from serving import ask, assert_problem
from sightbox.errors import SettingsError
from sightbox.settings import load_settings
from sightbox.web.tokens import kept_token

SERVE = ["serve", "--host", "0.0.0.0", "--port", "0", "--backend", "dummy"]
TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone

needs_modes = pytest.mark.skipif(os.name != "posix", reason="files have no mode here")


@contextmanager
def _started(file: Path) -> Iterator[tuple[str, str]]:
    """Starts a server that listens to the network; gives what it prints, and its address."""
    with subprocess.Popen(
        [*SIGHTBOX, *SERVE],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"SIGHTBOX_TOKEN_FILE": str(file)},
    ) as process:
        try:
            shown = "".join(iter(partial(_read_line, process), "Ctrl-C stops it.\n"))
            port = re.search(r"http://0\.0\.0\.0:(\d+)", shown)
            yield shown, f"http://127.0.0.1:{port[1] if port else 0}"
        finally:
            process.kill()


def _read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the server ended"
    return line


def test_token_is_made_on_the_first_start_and_shown_only_then(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with _started(file) as (shown, url):
        token = file.read_text().strip()
        assert len(token) == 43
        assert shown.count(token) == 1
        assert f"/#token={token}\n" in shown
        assert_problem(ask(url, "/v1/info"), 401, "token_needed")
        assert ask(url, "/v1/info", headers={"Authorization": f"Bearer {token}"})[0] == 200
    with _started(file) as (shown, url):
        assert token not in shown
        assert f"the token that is kept in {file}" in shown
        assert ask(url, "/v1/info", headers={"Authorization": f"Bearer {token}"})[0] == 200


@needs_modes
def test_token_file_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    usual = os.umask(0)
    try:
        made = kept_token(load_settings(host="0.0.0.0", home=tmp_path / "home"))
    finally:
        os.umask(usual)
    assert made is not None
    assert made.path == tmp_path / "home" / "token"
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert sorted(path.name for path in made.path.parent.iterdir()) == ["token"]


@needs_modes
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o644])
def test_token_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(mode)
    with pytest.raises(SettingsError, match=f"Run: chmod 600 {file}") as caught:
        kept_token(load_settings(host="0.0.0.0", home=tmp_path))
    assert TOKEN not in str(caught.value)
    file.chmod(0o600)
    found = kept_token(load_settings(host="0.0.0.0", home=tmp_path))
    assert found is not None
    assert (found.text, found.is_new) == (TOKEN, False)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
@pytest.mark.parametrize(("mode", "taken"), [(0o440, True), (0o460, False), (0o444, False)])
def test_group_may_read_what_somebody_else_hands_in(tmp_path: Path, mode: int, taken: bool) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    os.chown(file, 4242, -1)
    file.chmod(mode)
    settings = load_settings(token_file=file)
    if taken:
        found = kept_token(settings)
        assert found is not None
        assert found.text == TOKEN
    else:
        with pytest.raises(SettingsError, match="Others than its owner"):
            kept_token(settings)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"sixteen letters\n", "sechzehn-Zeichen-ü".encode(), b"\0" * 16]
)
def test_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(SettingsError, match="holds no token"):
        kept_token(load_settings(token_file=tmp_path / "token"))


def test_what_is_no_small_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 4_097)
    os.mkfifo(tmp_path / "pipe")
    for name in ("large", "pipe"):
        with pytest.raises(SettingsError, match="is no file of at most 4,096 bytes"):
            kept_token(load_settings(token_file=tmp_path / name))
    with pytest.raises(SettingsError, match="cannot be used: Is a directory"):
        kept_token(load_settings(token_file=tmp_path))


def test_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, error = run(*SERVE, env={"SIGHTBOX_TOKEN_FILE": str(tmp_path / "file" / "token")})
    assert code == 2
    assert f"The token file {tmp_path / 'file' / 'token'} cannot be used" in error
    assert "SIGHTBOX_TOKEN_FILE" in error


def test_file_is_asked_for_only_where_a_token_is_missing(tmp_path: Path) -> None:
    for given in ({}, {"host": "0.0.0.0", "insecure": True}, {"host": "::", "token": TOKEN}):
        assert kept_token(load_settings(home=tmp_path / "home", **given)) is None
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("given", [{}, {"host": "0.0.0.0"}, {"insecure": True}])
def test_named_file_is_used_wherever_the_server_listens(
    tmp_path: Path, given: dict[str, object]
) -> None:
    made = kept_token(load_settings(token_file=tmp_path / "mine", **given))
    found = kept_token(load_settings(token_file=tmp_path / "mine", **given))
    assert made is not None
    assert found is not None
    assert (made.is_new, found.is_new, made.text) == (True, False, found.text)
    assert made.text not in repr(made)


def test_servers_that_start_at_once_agree_on_a_token(tmp_path: Path) -> None:
    settings = load_settings(token_file=tmp_path / "token")
    found: list[str] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        token = kept_token(settings)
        found.append(token.text if token else "")

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {(tmp_path / "token").read_text().strip()}
    assert len(found) == 8
