"""Makes the generated pages of this folder anew: ``make docs``."""

from pathlib import Path

from sightbox.settings import settings_page

(Path(__file__).parent / "settings.md").write_text(settings_page(), "utf-8")
