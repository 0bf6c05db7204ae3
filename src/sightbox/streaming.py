"""Many items through a function: in threads, a few ahead, and the results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    one: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """Yields ``one(item)`` for each item, in order.

    An error of the iterable itself is raised after the results of what it gave.

    Args:
        one: Called in several threads at once.
        items: May be endless: no more than three for each worker are held.
        workers: Number of threads.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="sightbox-classify")
    try:
        source, failure = iter(items), None
        while failure is None:
            try:
                waiting.append(pool.submit(copy_context().run, one, next(source)))
            except Exception as error:  # noqa: BLE001 - the caller's own, raised again below
                failure = error
            while waiting and (failure or waiting[0].done() or len(waiting) > 2 * workers):
                yield waiting.popleft().result()
        if not isinstance(failure, StopIteration):
            raise failure
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
