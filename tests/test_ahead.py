"""Batches are read ahead, in order, and what goes wrong while reading is raised where the batch would have come."""

import threading
from collections.abc import Iterator

import pytest

from cosdd_zoo.data.ahead import Ahead
from cosdd_zoo.errors import ImageError

LONG_S = 30.0


@pytest.mark.parametrize("in_thread", [True, False])
def test_all_batches_come_in_their_order_again_and_again(in_thread: bool) -> None:
    ahead = Ahead(range(5), in_thread)
    assert list(ahead) == list(ahead) == [0, 1, 2, 3, 4]


def test_the_next_batch_is_read_while_this_one_is_used() -> None:
    read = [threading.Event() for _ in range(3)]

    def batches() -> Iterator[int]:
        for k, event in enumerate(read):
            event.set()
            yield k

    using = iter(Ahead(batches()))
    assert next(using) == 0
    assert read[1].wait(LONG_S)  # nobody has asked for it yet
    assert not read[2].is_set()  # no more than one is kept


def test_a_damaged_file_is_told_of_where_its_batch_would_have_come() -> None:
    def batches() -> Iterator[int]:
        yield 0
        raise ImageError("Page 2 is damaged.")

    using = iter(Ahead(batches()))
    assert next(using) == 0
    with pytest.raises(ImageError, match="damaged"):
        next(using)


def test_reading_ends_when_nobody_asks_any_more() -> None:
    using = iter(Ahead(iter(int, 1)))
    assert next(using) == 0
    using.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("reading")]


def test_without_a_thread_nothing_is_read_before_it_is_asked_for() -> None:
    read: list[int] = []
    using = iter(Ahead((read.append(k) or k for k in range(3)), in_thread=False))
    assert (next(using), read) == (0, [0])
