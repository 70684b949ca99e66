from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.engines.turns import Turns


def test_a_slow_registry_keeps_half_of_two_and_the_other_gets_through() -> None:
    turns = Turns([("slow", number) for number in range(9)] + [("fast", number) for number in range(9)])
    with ExitStack() as stuck:
        slow = [stuck.enter_context(turns.turn())]
        for number in range(9):
            with turns.turn() as piece:
                assert piece == number
        slow.append(stuck.enter_context(turns.turn()))
        assert slow == [0, 1], "nobody else has work left"


@given(st.lists(st.sampled_from(["a", "b", "c"])), st.integers(1, 5))
def test_every_piece_has_one_turn_whatever_the_number_of_threads(registries: list[str], threads: int) -> None:
    turns = Turns([(registry, number) for number, registry in enumerate(registries)])
    done: list[int] = []
    lock = threading.Lock()

    def work(_: object) -> None:
        with turns.turn() as piece, lock:
            done.append(piece)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, registries))
    assert sorted(done) == list(range(len(registries)))
    with pytest.raises(LookupError), turns.turn():
        pass


def test_a_piece_that_fails_gives_its_place_back() -> None:
    turns = Turns([("a", 1), ("b", 2), ("a", 3), ("b", 4)])
    with pytest.raises(ValueError, match="broken"), turns.turn():
        raise ValueError("broken")
    with turns.turn() as second, turns.turn() as third:
        assert (second, third) == (3, 2)
