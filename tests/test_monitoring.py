"""The page, the rules and the dashboard for the metrics: they name what is exposed, and work."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving import ask, serving
from sightbox.backends.dummy import DummyBackend
from sightbox.classifier import Classifier
from sightbox.metrics import TABLE, metrics_table

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "alerts.yaml"
MONITORING = ROOT / "docs" / "monitoring.md"


@pytest.fixture
def promtool() -> str:
    """Prometheus' own checker; skips where it is absent."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here")
    return found


def names_in(text: str) -> set[str]:
    """Returns the names of metrics that a text mentions, without a histogram's endings."""
    found = re.findall(r"\bsightbox_[a-z_]+", text)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


@pytest.fixture(scope="module")
def exposed(home: Path) -> Iterator[bytes]:
    """What a server exposes that has answered and refused."""
    with Classifier(backend=DummyBackend(), home=home) as classifier, serving(classifier) as url:
        ask(url, "/v1/classify", b"no picture")
        yield ask(url, "/metrics")[2]


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "alerts.yaml", "prometheus.yaml"])
def test_every_metric_in_use_is_exposed(name: str, exposed: bytes) -> None:
    text = (DEPLOY / name).read_text("utf-8")
    families = set(re.findall(r"^# TYPE (\w+)", exposed.decode(), re.MULTILINE))
    assert names_in(text) <= families
    assert names_in(text) or name == "prometheus.yaml"


def test_every_exposed_metric_is_documented_and_the_table_is_fresh(exposed: bytes) -> None:
    page = MONITORING.read_text("utf-8")
    families = set(re.findall(r"^# TYPE (\w+)", exposed.decode(), re.MULTILINE))
    assert families <= names_in(page)
    assert {f"sightbox_{name}" for name in TABLE} <= families
    assert metrics_table() in page, "make docs"


def test_labels_of_the_table_are_those_that_are_exposed(exposed: bytes) -> None:
    for family in text_string_to_metric_families(exposed.decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        kind = TABLE.get(name.removeprefix("sightbox_"))
        if kind is not None:
            assert family.type == kind.type
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == set(kind.labels)


def test_dashboard_is_whole() -> None:
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["targets"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for target in panel["targets"]:
            assert names_in(target["expr"])
            assert target["expr"].count("{") == target["expr"].count("}")
            assert target["expr"].count("(") == target["expr"].count(")")


def test_promtool_finds_no_fault_in_the_metrics(promtool: str, exposed: bytes) -> None:
    done = subprocess.run(
        [promtool, "check", "metrics"], input=exposed, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_promtool_finds_no_fault_in_rules_and_configuration(promtool: str) -> None:
    for command in (
        ["check", "rules", str(ALERTS)],
        ["check", "config", "--syntax-only", str(DEPLOY / "prometheus.yaml")],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_no_fault_in_the_dashboards_queries(promtool: str, tmp_path: Path) -> None:
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = [
        # Grafana's own names are filled in before Prometheus reads it.
        {
            "record": f"query{number}",
            "expr": text.replace("$__rate_interval", "1m").replace("$instance", ".*"),
        }
        for number, text in enumerate(expressions)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert f"{len(rules)} rules found" in done.stdout, done.stdout + done.stderr


SERIES = {
    "SightboxDown": {'up{job="sightbox",instance="a"}': "0x20"},
    "SightboxNotReady": {'sightbox_ready{instance="a"}': "0x20"},
    "SightboxQueueNearlyFull": {
        'sightbox_queue_depth{instance="a",model="m"}': "90x20",
        'sightbox_queue_capacity{instance="a",model="m"}': "100x20",
    },
    "SightboxUploadsNearlyFull": {
        'sightbox_buffered_bytes{instance="a"}': "90x20",
        'sightbox_buffered_limit_bytes{instance="a"}': "100x20",
    },
    "SightboxRefuses": {
        'sightbox_refusals_total{instance="a",code="queue_full"}': "0+6x20",
        'sightbox_requests_total{instance="a",status="503"}': "0+6x20",
        'sightbox_requests_total{instance="a",status="200"}': "0+60x20",
    },
    "SightboxServerErrors": {
        'sightbox_requests_total{instance="a",status="500"}': "0+6x20",
        'sightbox_requests_total{instance="a",status="200"}': "0+60x20",
    },
    "SightboxSlow": {
        'sightbox_request_duration_seconds_bucket{instance="a",route="/v1/classify",le="2"}': (
            "0+6x20"
        ),
        'sightbox_request_duration_seconds_bucket{instance="a",route="/v1/classify",le="5"}': (
            "0+60x20"
        ),
        'sightbox_request_duration_seconds_bucket{instance="a",route="/v1/classify",le="+Inf"}': (
            "0+60x20"
        ),
    },
    "SightboxMemory": {'sightbox_process_resident_memory_bytes{instance="a"}': "3e9x20"},
    "SightboxDescriptors": {
        'sightbox_process_open_fds{instance="a"}': "90x20",
        'sightbox_process_max_fds{instance="a"}': "100x20",
    },
}
"""For each alert, what makes it fire: series in promtool's notation, one value a minute."""

QUIET = {
    'up{job="sightbox",instance="a"}': "1x20",
    'sightbox_ready{instance="a"}': "1x20",
    'sightbox_queue_depth{instance="a",model="m"}': "10x20",
    'sightbox_queue_capacity{instance="a",model="m"}': "100x20",
    'sightbox_requests_total{instance="a",status="200"}': "0+60x20",
    'sightbox_requests_total{instance="a",status="503"}': "0+1x20",
    'sightbox_refusals_total{instance="a",code="queue_full"}': "0+1x20",
    'sightbox_refusals_total{instance="a",code="bad_image"}': "0+60x20",
    'sightbox_process_resident_memory_bytes{instance="a"}': "3e8x20",
}
"""A server that does well: none may fire."""


@pytest.mark.parametrize("fires", [*SERIES, None])
def test_alerts_fire_when_they_should(fires: str | None, promtool: str, tmp_path: Path) -> None:
    alerts = re.findall(r"alert: (\w+)", ALERTS.read_text("utf-8"))
    assert set(alerts) == set(SERIES)
    series = QUIET if fires is None else SERIES[fires]
    # What is tested is that each alert but the one has nothing to tell, and the one has something.
    checks = [
        {
            "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
            "eval_time": "20m",
            "exp_samples": [{"labels": "{}", "value": 1}] if alert == fires else [],
        }
        for alert in alerts
    ]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": told} for name, told in series.items()],
        "promql_expr_test": checks,
    }
    file = tmp_path / "test.yaml"
    file.write_text(
        json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]})
    )
    done = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_commands_of_the_page_work_as_written(dummy: Classifier) -> None:
    blocks = re.findall(
        r"^```sh\n(.*?)^```", MONITORING.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    with serving(dummy) as url:
        script = "".join(blocks).replace("http://127.0.0.1:8018", url)
        done = subprocess.run(
            ["sh", "-ec", script.replace("curl ", "curl -fsS ")],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert "# EOF" in done.stdout
    assert "X-Request-Id: mine-1" in done.stdout
