"""Every hostile request over HTTP: refused precisely, or answered; and the server lives on."""

import http.client
import json
import socket
from collections.abc import Callable, Iterator

import pytest

from hostile.corpus import GROUPS, Case, files, post
from serving import connect


def answer_to(url: str, case: Case) -> tuple[int, bytes]:
    """Sends a request as it is, and returns the status and body; 0 when there is no answer."""
    with connect(url) as connection:
        try:
            connection.sendall(case.request)
            if case.ends:
                connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status, response.read()
        except (http.client.RemoteDisconnected, ConnectionError):
            return 0, b""


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it finds in damaged files
def test_hostile_request_is_refused_precisely(
    url: str, group: Callable[[], Iterator[Case]]
) -> None:
    sound = Case("sound", post(files()["png"]), frozenset({200}))
    before = json.loads(answer_to(url, sound)[1])["predictions"]
    names = set()
    for case in group():
        names.add(case.name)
        status, body = answer_to(url, case)
        assert status in case.allowed, (case.name, status, body[:300])
        if status >= 400:
            problem = json.loads(body)
            assert problem["status"] == status, case.name
            assert problem["code"], case.name
            assert len(problem["detail"]) > 10, case.name
            assert "Traceback" not in str(problem), case.name
    assert len(names) == sum(1 for _ in group())
    status, body = answer_to(url, sound)
    assert (status, json.loads(body)["predictions"]) == (200, before)
