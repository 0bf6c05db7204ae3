"""Makes the generated pages of this folder anew, and the package's manifest: ``make docs``."""

import re
from pathlib import Path

from sightbox.integrity import MANIFEST, PACKAGE, manifest_text
from sightbox.metrics import metrics_table
from sightbox.settings_page import settings_page

HERE = Path(__file__).parent
TABLE = re.compile(r"(?s)(?<=The table is generated: make docs -->\n).*(?=<!-- The table ends)")

(HERE / "settings.md").write_text(settings_page(), "utf-8")
monitoring = HERE / "monitoring.md"
monitoring.write_text(TABLE.sub(lambda _: metrics_table(), monitoring.read_text("utf-8")), "utf-8")
(PACKAGE / MANIFEST).write_text(manifest_text(), "utf-8")
