"""A short form of the run with good and bad requests at random; `chaos.py` is the long one."""

from hostile.chaos import chaos

REQUESTS = 500

SHORT_GROWTH = 0.5
"""Most growth of the memory, as a part: what a hundred requests warm up is not all that there is. A
body or an answer that is kept by each request would double it."""

LARGEST = 300_000
"""Most bytes of a bad request here: the larger ones take seconds, and test_corpus.py sends them."""


def test_good_requests_are_answered_right_among_bad_ones() -> None:
    report = chaos(REQUESTS, largest=LARGEST)
    assert report.failed == 0, report.examples
    assert sum(report.counts.values()) == REQUESTS
    assert min(report.counts[kind] for kind in ("right", "refused", "gone")) > REQUESTS / 20
    assert report.alive
    assert report.growth <= SHORT_GROWTH, report.memory
