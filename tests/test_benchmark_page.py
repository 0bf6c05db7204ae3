"""The page of the benchmark as the server gives it, and the runs that it starts."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from serving import Answer, ask, assert_problem, running
from sightbox.benchmark.alone import step_to_json
from sightbox.benchmark.last import FILE, keep_last, last_report
from sightbox.benchmark.probe import Way
from sightbox.benchmark.report import Json
from sightbox.benchmark.runner import BEGIN, RunGoesOnError, Runner
from sightbox.classifier import Classifier
from sightbox.settings import load_settings
from sightbox.web.app import create_app
from sightbox.web.assets import load_assets
from sightbox.web.benchmark import RUN, SCRIPTS, SHARED_SCRIPTS, TEXTS, ElsewhereError
from sightbox.web.pages import CATALOGUES, LANGUAGES, load_catalogue
from sightbox.web.server import Server
from simulated import BRIEF, Machine, Simulated, measured, reported, small_home

PAGE = "/benchmark"
FILES = CATALOGUES.parent / "benchmark"
TEMPLATE = CATALOGUES.parents[1] / "templates" / "benchmark.html"
TOKEN = "a-secret-of-24-characters"  # noqa: S105 - of the tests alone


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Json:
    """A report of a simulated machine."""
    home = small_home(tmp_path_factory.mktemp("shelf"))
    machine = Machine(1)
    other = Simulated(home, machine, Way("dummy", "fp32", "elsewhere"), 9.0)
    return reported(home, measured(machine, Simulated(home, machine), other))


@pytest.fixture
def empty(home: Path) -> Iterator[Path]:
    """The prepared home, without a report before and after."""
    (home / FILE).unlink(missing_ok=True)
    yield home
    (home / FILE).unlink(missing_ok=True)


def get(client: FlaskClient, path: str, headers: dict[str, str] | None = None) -> str:
    with client.get(path, headers=headers) as response:
        assert response.status_code == 200, path
        return response.get_data(as_text=True)


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        pass


def progress(url: str) -> Json:
    found: Json = ask(url, RUN)[2]
    return found


def start(url: str) -> Answer:
    return ask(url, RUN, b"")


@contextmanager
def server_at(classifier: Classifier, home: Path) -> Iterator[tuple[Server, Runner]]:
    settings = load_settings(port=0, home=home)
    app = create_app(classifier, settings)
    with running(app, settings) as server:
        yield server, app.extensions["sightbox"].benchmarks


def finish(runner: Runner) -> None:
    """Waits for the end of a run."""
    if runner._thread is not None:
        runner._thread.join()


def group(runner: Runner) -> int:
    """Returns the group of a run's processes."""
    assert runner._child is not None
    return runner._child.pid


def alive(number: int) -> list[str]:
    """Returns the command lines of a group's processes that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, _, members = (path / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(members) == number and state != "Z":
                found.append((path / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def begun(server: Server, runner: Runner) -> int:
    """Starts a run, waits until it has started a process for a way, and returns its group."""
    assert start(server.url)[0] == 202
    number = group(runner)
    until(lambda: any("benchmark.child" in each for each in alive(number)))
    return number


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_without_a_report_says_how_to_get_one(
    dummy: Classifier, empty: Path, language: str
) -> None:
    client = create_app(dummy, load_settings(home=empty)).test_client()
    page = get(client, f"{PAGE}?lang={language}")
    assert load_catalogue(language, TEXTS)["bench.none"] in page
    assert "sightbox bench" in page
    assert dummy.card.name in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_shows_the_last_report_without_script_and_without_inline_style(
    dummy: Classifier, empty: Path, report: Json, language: str
) -> None:
    keep_last(empty, report)
    client = create_app(dummy, load_settings(home=empty)).test_client()
    page = get(client, f"{PAGE}?lang={language}")
    assert not re.search(r"\sstyle\s*=|<style|\son\w+\s*=|javascript:", page, re.IGNORECASE)
    for row in report["rows"]:
        assert f'<th scope="row">{row["name"]}</th>' in page
        assert f'<td class="number">{row["whole_ms"]["median"]:.2f}</td>' in page
    shown = page.partition('<section class="report"')[2]
    assert shown.count("<table>") >= 4
    assert shown.count("<svg") >= 5
    if language == "en":
        assert not re.search("[一-鿿]", shown.partition("</section>")[0])
    else:
        assert "所有运行方式" in shown
        assert "Every way to run it" not in shown


def test_file_that_is_no_report_is_not_shown(dummy: Classifier, empty: Path) -> None:
    (empty / FILE).write_text('{"kind": "something else"}')
    assert last_report(empty) is None
    client = create_app(dummy, load_settings(home=empty)).test_client()
    assert load_catalogue("en", TEXTS)["bench.none"] in get(client, f"{PAGE}?lang=en")


def test_report_is_for_those_with_the_token(dummy: Classifier, empty: Path, report: Json) -> None:
    keep_last(empty, report)
    client = create_app(dummy, load_settings(home=empty, token=TOKEN)).test_client()
    page = get(client, f"{PAGE}?lang=en")
    assert load_catalogue("en", TEXTS)["bench.locked"].replace("'", "&#39;") in page
    assert "dummy fp32" not in page
    with_token = {"Authorization": f"Bearer {TOKEN}"}
    assert "dummy fp32" in get(client, f"{PAGE}?lang=en", with_token)
    for method in ("GET", "POST", "DELETE"):
        assert client.open(RUN, method=method).status_code == 401
    assert '"running":false' in get(client, RUN, with_token)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_without_a_token_only_this_machine_starts_or_ends_a_run(
    dummy: Classifier, empty: Path, method: str
) -> None:
    app = create_app(dummy, load_settings(home=empty, host="0.0.0.0", insecure=True))
    client = app.test_client()
    stranger = {"REMOTE_ADDR": "192.0.2.7"}
    refused = client.open(RUN, method=method, environ_base=stranger)
    assert (refused.status_code, refused.get_json()["code"]) == (403, ElsewhereError.code)
    assert client.get(RUN, environ_base=stranger).get_json()["running"] is False
    runner: Runner = app.extensions["sightbox"].benchmarks
    try:
        assert client.open(RUN, method=method).status_code < 300
    finally:
        runner.close()


def test_one_run_at_a_time_and_it_can_be_cancelled(dummy: Classifier, empty: Path) -> None:
    with server_at(dummy, empty) as (server, runner):
        assert progress(server.url)["outcome"] == ""
        number = begun(server, runner)
        assert "benchmark" in assert_problem(start(server.url), 409, "benchmark_running")
        found = progress(server.url)
        assert (found["running"], found["outcome"]) == (True, "")
        assert found["way"] == "onnxruntime fp32"
        assert found["total"] > found["done"] >= 0
        ended = ask(server.url, RUN, method="DELETE")[2]
        assert (ended["running"], ended["outcome"]) == (False, "cancelled")
        assert alive(number) == []
        assert ask(server.url, RUN, method="DELETE")[0] == 200, "twice is no fault"
    assert not (empty / FILE).exists()
    assert [path.name for path in empty.iterdir() if path.name.startswith(".")] == []


def test_nothing_of_a_request_reaches_the_run(dummy: Classifier, empty: Path) -> None:
    told = "/etc/passwd"
    body = f'{{"model": "{told}", "home": "{told}"}}\n'.encode()
    with server_at(dummy, empty) as (server, runner):
        headers = {"Content-Type": "application/json", "X-Model": told}
        assert ask(server.url, f"{RUN}?model={told}&home={told}", body, headers)[0] == 202
        number = group(runner)
        # Its way is told, so the model was found: it is the server's own.
        until(lambda: runner.progress().way == "onnxruntime fp32")
        assert not any(told in line for line in alive(number))


def test_server_that_stops_ends_its_run(dummy: Classifier, empty: Path) -> None:
    with server_at(dummy, empty) as (server, runner):
        number = begun(server, runner)
    assert alive(number) == []
    assert not (empty / FILE).exists()
    assert runner.progress().outcome == "cancelled"


def test_run_ends_with_a_server_that_is_killed(home: Path) -> None:
    """The owner is a process here, and has no time to say anything."""
    program = (
        "from pathlib import Path; from sightbox.benchmark.runner import Runner\n"
        f"runner = Runner(Path({str(home)!r}), 'efficientnet-lite0'); runner.start()\n"
        "print(runner._child.pid, flush=True); input()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        number = int(owner.stdout.readline())
        until(lambda: any("benchmark.child" in each for each in alive(number)))
        owner.send_signal(signal.SIGKILL)
    until(lambda: alive(number) == [])


def test_run_that_cannot_be_done_tells_why(dummy: Classifier, tmp_path: Path) -> None:
    runner = Runner(small_home(tmp_path), "nothing")
    runner.start()
    finish(runner)
    runner.close()
    assert runner.progress().outcome == "failed"
    assert "no model 'nothing'" in str(runner.progress().problem)


def test_process_that_dies_is_told(tmp_path: Path) -> None:
    runner = Runner(small_home(tmp_path), "small")
    runner.start()
    os.kill(group(runner), signal.SIGKILL)
    finish(runner)
    runner.close()
    assert runner.progress().problem == "Its process ended with the code -9."


@pytest.mark.timeout(600)
def test_run_from_the_page_is_kept_and_says_what_was_answered_meanwhile(
    dummy: Classifier, empty: Path, cat: bytes
) -> None:
    with server_at(dummy, empty) as (server, runner):
        assert start(server.url)[0] == 202
        for _ in range(3):
            assert ask(server.url, "/v1/classify", cat)[0] == 200
        finish(runner)
        found = progress(server.url)
        assert (found["outcome"], found["problem"]) == ("done", None)
        page = ask(server.url, f"{PAGE}?lang=en")[2].decode()
    kept = last_report(empty)
    assert kept is not None
    assert [row["problem"] for row in kept["rows"]] == [None, None]
    marks = {mark["code"]: mark["en"] for mark in kept["marks"]}
    assert marks["answering"] == "The server answered 3 requests meanwhile."
    assert "short" in marks
    assert "The server answered 3 requests meanwhile." in page


def test_home_that_cannot_be_written_is_told_and_the_report_is_shown(
    empty: Path, report: Json
) -> None:
    # A folder in the file's place: even root cannot write there.
    (empty / FILE).mkdir()
    try:
        runner = Runner(empty, "small")
        problem = runner._keep(report | {"marks": []})
        assert "cannot be written" in str(problem)
        shown = runner.report()
        assert shown is not None
        assert shown["rows"] == report["rows"]
    finally:
        (empty / FILE).rmdir()


def test_each_step_of_a_run_has_words(tmp_path: Path) -> None:
    home, machine = small_home(tmp_path), Machine(1)
    told: list[str] = []

    def note(step: str, _: int, __: int) -> None:
        told.append(step)

    measured(machine, Simulated(home, machine), effort=BRIEF, progress=note)
    steps = [step_to_json(step, 0, 1) for step in told]
    phases = {BEGIN, *(step["phase"] for step in steps)}
    assert phases >= {"start", "warm-up", "single answers", "batches"}
    assert {step["way"] for step in steps} == {"dummy fp32"}
    assert [step["round"] for step in steps if step["phase"] == "batches"] == [1, 2, 3]
    for language in LANGUAGES:
        assert {f"bench.phase.{phase}" for phase in phases} <= load_catalogue(
            language, TEXTS
        ).keys()


def test_both_pages_link_each_other(dummy: Classifier) -> None:
    client = create_app(dummy, load_settings()).test_client()
    for language in LANGUAGES:
        assert f'href="{PAGE}?lang={language}"' in get(client, f"/?lang={language}")
        assert f'href="/?lang={language}"' in get(client, f"{PAGE}?lang={language}")


def test_catalogues_have_the_same_keys_and_placeholders_in_their_languages() -> None:
    english, chinese = (load_catalogue(language, TEXTS) for language in ("en", "zh"))
    assert list(english) == list(chinese)
    assert not english.keys() & load_catalogue("en").keys()
    for key, text in english.items():
        wanted = sorted(re.findall(r"\{\w+\}", text))
        assert sorted(re.findall(r"\{\w+\}", chinese[key])) == wanted, key
        assert not re.search(r"[\u3000-\u9fff\uff00-\uffef]", text), key
        assert re.search(r"[\u4e00-\u9fff]", chinese[key]), key
        assert not re.search(r"[\u4e00-\u9fff][,.?!:;]", chinese[key]), key


def test_each_key_in_use_exists_and_each_key_is_used() -> None:
    template = TEMPLATE.read_text("utf-8")
    scripts = "\n".join(path.read_text("utf-8") for path in FILES.glob("*.js"))
    used = set(re.findall(r"""\bt\(['"]([\w.]+\w)['"]\)""", template + scripts))
    used |= set(re.findall(r'data-i18n(?:-label)?="([\w.]+)"', template))
    used |= {f"bench.said.{outcome}" for outcome in ("done", "cancelled", "failed")}
    used |= {"bench.seconds", "bench.about"}
    used |= {
        f"error.{error.code}{end}"
        for error in (RunGoesOnError, ElsewhereError)
        for end in ("", ".hint")
    }
    own = load_catalogue("en", TEXTS).keys()
    assert used <= own | load_catalogue("en").keys()
    assert {key for key in own - used if not key.startswith("bench.phase.")} == set()


def test_each_file_is_linked_and_each_import_preloaded(dummy: Classifier) -> None:
    client = create_app(dummy, load_settings()).test_client()
    linked = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', get(client, PAGE)))
    for reference in linked:
        assert get(client, reference)
    version = load_assets().version
    own = {f"/static/{version}/benchmark/{path.name}" for path in FILES.iterdir()}
    assert own <= linked
    assert {path.stem for path in FILES.glob("*.js")} == {*SCRIPTS, "main"}
    for path in FILES.glob("*.js"):
        text = path.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        for name in re.findall(r'from "\.\./js/(\w+)\.js"', text):
            assert name in SHARED_SCRIPTS
