"""The files of deploy/: as strict as they say, and true of this version."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import psutil
import pytest
import yaml

from commandline import SIGHTBOX
from serving import ask, serving
from sightbox.classifier import Classifier
from sightbox.settings import Settings, load_settings
from sightbox.settings_table import PREFIX

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "sightbox.service"
CONTAINERFILE = DEPLOY / "Containerfile"

MOST_EXPOSURE = 15
"""In tenths, as `systemd-analyze security` counts: 0 is closed, 100 is open."""


def _needed(program: str) -> str:
    """Returns where a program is; skips where it is not."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"this system has no {program}")
    return found


def _assert_runs(*words: str | Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


# --- systemd ---------------------------------------------------------------------------------


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is here."""
    copy = tmp_path / UNIT.name
    (tmp_path / "sightbox").symlink_to(sys.executable)
    text = UNIT.read_text().replace("/opt/sightbox/bin/sightbox", str(tmp_path / "sightbox"))
    copy.write_text(text)
    return copy


def test_unit_is_understood_by_systemd(unit: Path) -> None:
    _assert_runs(_needed("systemd-analyze"), "verify", unit)


def test_unit_is_as_closed_as_it_can_be(unit: Path) -> None:
    program = _needed("systemd-analyze")
    _assert_runs(
        *(program, "security", "--no-pager", "--offline=true"),
        *(f"--threshold={MOST_EXPOSURE}", unit),
    )


def _directives() -> dict[str, str]:
    lines = [line for line in UNIT.read_text().splitlines() if not line.startswith("#")]
    return {name: value for name, equals, value in (x.partition("=") for x in lines) if equals}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("CapabilityBoundingSet", ""),
        ("IPAddressDeny", "any"),
        ("MemorySwapMax", "0"),
        ("LimitCORE", "0"),
        ("StateDirectoryMode", "0700"),
    ],
)
def test_unit_keeps_what_it_promises(name: str, value: str) -> None:
    assert _directives()[name] == value


def test_stopping_waits_longer_than_the_grace_period() -> None:
    grace = load_settings().grace
    assert int(_directives()["TimeoutStopSec"]) > grace
    assert int(_compose()["stop_grace_period"].removesuffix("s")) > grace
    assert _manifest("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > (
        grace + 5
    )


def _calls(group: str) -> set[str]:
    """Returns the system calls of a group, as systemd knows it."""
    text = subprocess.check_output(
        ["systemd-analyze", "syscall-filter", "--no-pager", group], text=True
    )
    words = {line.strip() for line in text.splitlines()[1:]}
    groups = {word for word in words if word.startswith("@")}
    names = {word for word in words if word and word[0] not in "@#"}
    return names.union(*map(_calls, groups))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_unit_allows_every_system_call_of_a_server(
    tmp_path: Path, photos: Path, backend: str
) -> None:
    _needed("systemd-analyze")
    allowed = _calls("@system-service") - _calls("@privileged")
    assert {"socket", "mmap", "futex"} <= allowed
    forbidden = f"trace=!{','.join(f'?{name}' for name in sorted(allowed))}"
    watch = [_needed("strace"), "-f", "-qq", "--seccomp-bpf", "-e", "signal=none", "-e", forbidden]
    serve = [*SIGHTBOX, "serve", "--port", "0", "--backend", backend]
    with subprocess.Popen(
        [*watch, "-o", str(tmp_path / "calls"), *serve],
        stdout=subprocess.PIPE,
        text=True,
    ) as tracer:
        assert tracer.stdout is not None
        address = re.search(r"http://\S+", tracer.stdout.readline())
        (server,) = psutil.Process(tracer.pid).children()
        try:
            assert address
            cat = (photos / "chelsea.png").read_bytes()
            assert ask(address[0], "/v1/classify", cat)[0] == 200
            assert ask(address[0], "/")[0] == 200
        finally:
            server.terminate()
        assert tracer.wait() == 0
    assert (tmp_path / "calls").read_text() == ""


# --- containers ------------------------------------------------------------------------------


def _instructions() -> list[tuple[str, str]]:
    text = CONTAINERFILE.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def _last(instruction: str) -> str:
    return [rest for word, rest in _instructions() if word == instruction][-1]


def test_image_is_made_in_two_stages_of_a_python_that_is_supported() -> None:
    stages = [rest.split()[0] for word, rest in _instructions() if word == "FROM"]
    assert len(stages) == 2
    assert len(set(stages)) == 1
    version = re.fullmatch(r"python:(3\.\d+)-slim-\w+", stages[0])
    assert version
    assert f"Python :: {version[1]}" in (ROOT / "pyproject.toml").read_text()


def test_image_runs_as_a_number_that_is_not_root() -> None:
    words = [word for word, _ in _instructions()]
    assert _last("USER") == "10001:10001"
    assert words.index("USER") > max(i for i, word in enumerate(words) if word in {"COPY", "FROM"})


def test_image_has_all_it_copies_and_no_secret() -> None:
    admitted = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    wanted = set()
    for word, rest in _instructions():
        if word == "COPY" and "--from" not in rest:
            wanted |= set(rest.split()[:-1])
    assert wanted == admitted
    assert all((ROOT / name).exists() for name in wanted)
    assert "TOKEN" not in CONTAINERFILE.read_text().upper().replace("MAKES A TOKEN", "")


def test_health_check_tells_a_server_that_answers_from_none(dummy: Classifier) -> None:
    command = json.loads(_last("HEALTHCHECK").partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    with serving(dummy) as url:
        port = str(urlsplit(url).port)
        check = [sys.executable, "-c", command[2].replace("8018", port)]
        assert subprocess.run(check, check=False).returncode == 0
    assert subprocess.run(check, capture_output=True, check=False).returncode == 1


def test_image_starts_with_a_command_that_exists() -> None:
    words = [*json.loads(_last("ENTRYPOINT")), *json.loads(_last("CMD"))]
    assert words == ["sightbox", "serve", "--host", "0.0.0.0"]
    assert load_settings(host=words[-1]).port == int(_last("EXPOSE"))


def test_build_steps_are_commands_that_exist() -> None:
    setup = next(rest for word, rest in _instructions() if word == "RUN" and " setup " in rest)
    options = shlex.split(setup)[2:]
    done = subprocess.run([*SIGHTBOX, *options, "--help"], capture_output=True, check=False)
    assert options == ["setup", "--no-fetch", "--no-tune"]
    assert done.returncode == 0


def test_containerfile_has_no_known_fault() -> None:
    _assert_runs(_needed("hadolint"), CONTAINERFILE)


def _compose() -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"][
        "sightbox"
    ]
    return service


def test_compose_gives_no_more_than_is_needed() -> None:
    service = _compose()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] == service["memswap_limit"] == "2g"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["volumes"] == [f"home:{_home()}"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def _home() -> str:
    found = re.search(r"SIGHTBOX_HOME=(\S+)", _last("ENV"))
    assert found
    return found[1]


# --- Kubernetes ------------------------------------------------------------------------------


def _manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def _manifest(kind: str) -> dict[str, Any]:
    (found,) = [manifest for manifest in _manifests() if manifest["kind"] == kind]
    return found


def _pod() -> dict[str, Any]:
    pod: dict[str, Any] = _manifest("Deployment")["spec"]["template"]["spec"]
    return pod


def test_manifests_are_of_kubernetes_schemas() -> None:
    for manifest in _manifests():
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_pod_has_no_rights() -> None:
    """What the restricted Pod Security Standard asks, a root that is read-only, and no token."""
    pod = _pod()
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == (
        _last("USER")
    )
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]) == {"requests", "limits"}
    assert _manifest("NetworkPolicy")["spec"]["egress"] == []


def test_pod_starts_beside_its_own_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes would set SIGHTBOX_PORT for a service of this name (kubelet's service links)."""
    assert _manifest("Service")["metadata"]["name"] == "sightbox"
    assert _pod()["enableServiceLinks"] is False


def test_probes_ask_what_is_answered_without_a_token(dummy: Classifier) -> None:
    (container,) = _pod()["containers"]
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    with serving(dummy, token="a" * 16) as url:
        assert {ask(url, probe["path"])[0] for probe in probes} == {200}
    assert container["ports"] == [{"name": "http", "containerPort": load_settings().port}]


# --- all -------------------------------------------------------------------------------------


def test_settings_in_the_files_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for path in sorted(path for path in DEPLOY.rglob("*") if path.is_file()):
        lines = [line for line in path.read_text().splitlines() if not line.strip().startswith("#")]
        named = set(re.findall(r"\bSIGHTBOX_[A-Z_]+\b", "\n".join(lines)))
        assert named <= known, path.name
    (container,) = _pod()["containers"]
    (hosts,) = [each["value"] for each in container["env"] if "value" in each]
    monkeypatch.setenv("SIGHTBOX_ALLOWED_HOSTS", hosts)
    assert "sightbox.default.svc.cluster.local" in load_settings().allowed_hosts
