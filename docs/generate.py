"""Makes the generated pages of this folder anew, and the package's manifest: ``make docs``."""

import re
from pathlib import Path

from sightbox.benchmark.markdown import to_markdown
from sightbox.benchmark.report import read_report
from sightbox.integrity import MANIFEST, PACKAGE, manifest_text
from sightbox.metrics import metrics_table
from sightbox.settings_page import settings_page

HERE = Path(__file__).parent
MEASURED = HERE.parent / "benchmarks" / "results" / "bench.json"
REPORT = re.compile(r"(?s)(?<=<!-- generated: make docs -->\n).*(?=<!-- end -->)")
TABLE = re.compile(r"(?s)(?<=The table is generated: make docs -->\n).*(?=<!-- The table ends)")

(HERE / "settings.md").write_text(settings_page(), "utf-8")
monitoring = HERE / "monitoring.md"
monitoring.write_text(TABLE.sub(lambda _: metrics_table(), monitoring.read_text("utf-8")), "utf-8")
benchmarks = HERE / "benchmarks.md"
report = to_markdown(read_report(MEASURED))
benchmarks.write_text(REPORT.sub(lambda _: report, benchmarks.read_text("utf-8")), "utf-8")
(PACKAGE / MANIFEST).write_text(manifest_text(), "utf-8")
