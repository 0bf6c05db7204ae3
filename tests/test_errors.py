"""The error classes."""

import pickle

import pytest

from sightbox import errors
from sightbox.errors import SightboxError
from sightbox.web import guard


def _classes(base: type[SightboxError]) -> list[type[SightboxError]]:
    return [base, *(c for child in base.__subclasses__() for c in _classes(child))]


ALL = [kind for kind in _classes(SightboxError) if not kind.__name__.startswith("_")]
IN_FLOW = [k for k in ALL if k.__module__ == errors.__name__ and k is not SightboxError]


def test_all_error_classes_are_seen() -> None:
    assert {errors.ImageTooLargeError, guard.ForbiddenError} <= set(ALL)


@pytest.mark.parametrize("kind", ALL)
def test_errors_survive_pickling(kind: type[SightboxError]) -> None:
    error = pickle.loads(pickle.dumps(kind("It broke.", "Mend it.")))
    assert type(error) is kind
    assert (error.detail, error.hint, str(error)) == ("It broke.", "Mend it.", "It broke. Mend it.")


def test_every_error_has_a_code_of_its_own() -> None:
    assert len({kind.code for kind in ALL}) == len(ALL)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_documented(kind: type[SightboxError]) -> None:
    assert kind.__doc__
    assert kind.title
    assert 400 <= kind.status <= 599
    assert kind.exit_code in {1, 2}


@pytest.mark.parametrize("kind", IN_FLOW)
def test_the_flow_names_every_error(kind: type[SightboxError]) -> None:
    flow = errors.__doc__ or ""
    assert kind.__name__ in flow or any(base.__name__ in flow for base in kind.__mro__[1:-3])
