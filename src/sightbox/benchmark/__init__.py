"""How fast Sightbox is on this machine: measured, checked, reported, compared."""
