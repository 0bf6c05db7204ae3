"""``sightbox verify``: proves that all is whole, answers rightly, and needs nobody."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console

import sightbox
from sightbox.catalogue import EMBEDDED
from sightbox.cli.info import collect
from sightbox.cli.screen import console, print_rows, to_json
from sightbox.schema import Json
from sightbox.settings import Settings, load_settings
from sightbox.store import Store
from sightbox.verification import Finding, check_answers, check_models, check_package

SCHEMA = "sightbox-verify-1"
"""Form of the JSON report: docs/offline.md."""

CARD = ("python", "system", "processor", "instruction sets", "usable cores", "packages")
"""What of `sightbox info` belongs to the report."""

HEADINGS = ("part", "what", "difference", "found")

SOUND = "as it should be"


def run(*, as_json: bool) -> int:
    """Checks everything, prints the report, and returns the exit code."""
    settings = load_settings()
    store = Store(settings.home)
    screen = console()
    findings = []
    # On the terminal, wherever the report goes.
    bar = screen if screen.is_terminal else Console(stderr=True)
    with bar.status("Looking at the models") as status:
        for finding in _findings(store, settings):
            findings.append(finding)
            status.update(f"{len(findings)} checked, last {finding.part}: {finding.name}")
    failed = sum(finding.problem is not None for finding in findings)
    if as_json:
        print(to_json(_report(store, findings, failed), indent=2))  # noqa: T201
    else:
        _print(screen, store, findings, failed)
    return 1 if failed else 0


def _findings(store: Store, settings: Settings) -> Iterator[Finding]:
    # Before the embedded model is prepared, which would mend what is damaged.
    yield from check_models(store)
    yield from check_package()
    # The golden answers are those of the embedded model: it tells whether the engines are right.
    for name in dict.fromkeys((settings.model or store.default_name(), EMBEDDED)):
        yield from check_answers(store, name, settings.least_agreement)
    yield from _isolated()


def _isolated() -> Iterator[Finding]:
    """Runs the whole surface in a process that can reach nobody."""
    command = [sys.executable, "-m", "sightbox.cli.isolated"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            said, complaint = process.communicate()
        finally:
            process.kill()
    for line in said.decode().splitlines():
        yield Finding(**json.loads(line))
    if process.returncode != 0:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        yield Finding("surface", "process", f"ended with {process.returncode}: {last}")


def _report(store: Store, findings: Sequence[Finding], failed: int) -> Json:
    machine = collect(store)
    return {
        "schema": SCHEMA,
        "date": _now(),
        "sightbox": sightbox.__version__,
        "passed": failed == 0,
        "machine": {name: machine[name] for name in CARD},
        "findings": [asdict(finding) for finding in findings],
    }


def _print(screen: Console, store: Store, findings: Sequence[Finding], failed: int) -> None:
    machine = collect(store)
    screen.print(f"Sightbox {sightbox.__version__}, {_now()}, {machine['system']}")
    screen.print(f"{machine['processor']}, {machine['usable cores']} cores\n")
    print_rows(screen, list(_rows(findings)), HEADINGS)
    largest = max(
        (finding.difference or 0 for finding in findings if _is_exact(finding)), default=0
    )
    screen.print(f"\nLargest difference of a logit in fp32: {largest:.2e}")
    screen.print(
        f"{failed} of {len(findings)} checks failed."
        if failed
        else f"All {len(findings)} checks passed."
    )


def _rows(findings: Sequence[Finding]) -> Iterator[tuple[str, str, str, str]]:
    """Yields a row for each problem and each remark, and one for all that is simply right."""
    right = Counter(finding.part for finding in findings if _is_plain(finding))
    for part in dict.fromkeys(finding.part for finding in findings):
        if right[part]:
            yield part, f"{right[part]} checks", "", SOUND
        for finding in findings:
            if finding.part == part and not _is_plain(finding):
                difference = "" if finding.difference is None else f"{finding.difference:.2e}"
                yield part, finding.name, difference, finding.problem or finding.note


def _is_plain(finding: Finding) -> bool:
    """Tells whether a finding is one of many that need no row."""
    listed = finding.part in {"models", "package"} and finding.name != "RECORD"
    return finding.problem is None and (listed or not finding.note)


def _is_exact(finding: Finding) -> bool:
    return " fp32 on " in finding.name


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
