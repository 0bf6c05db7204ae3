"""Times calls, with nothing between the two looks at the clock but the call."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def time_calls(
    work: Callable[[], T], calls: int, wall: Callable[[], float]
) -> tuple[list[float], list[T]]:
    """Makes calls one after the other.

    Args:
        work: The call.
        calls: How many.
        wall: Tells seconds.

    Returns:
        What each took, ms, and what each gave.
    """
    times: list[float] = []
    answers: list[T] = []
    for _ in range(calls):
        begun = wall()
        answer = work()
        ended = wall()
        times.append(1000 * (ended - begun))
        answers.append(answer)
    return times, answers
