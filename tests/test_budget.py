"""The bytes of bodies: never more than there may be, and nothing waits for ever."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tap_compose.api.budget import BodySizes, ByteBudget

MOST = 800


def test_the_estimate_follows_the_largest_bodies() -> None:
    sizes = BodySizes()
    for _ in range(200):
        sizes.add(1000)
    assert 1000 <= sizes.estimate <= 1007
    sizes.add(50_000)
    assert sizes.estimate == 50_000
    sizes.add(2000)
    assert sizes.estimate == 44_000
    for _ in range(100):
        sizes.add(2000)
    assert 2000 <= sizes.estimate <= 2007


def test_an_eighth_is_left_for_bodies_larger_than_estimated() -> None:
    budget = ByteBudget(MOST)
    budget.hold("a", 600)
    assert budget.has_room_for(100)
    assert not budget.has_room_for(101)
    budget.hold("b", 100)
    assert budget.can_grow("b", 200)
    assert not budget.can_grow("b", 201)
    budget.grow("b", 200)
    budget.grow("b", 50)
    assert budget.held == 800
    budget.release("a")
    assert budget.held == 200


def test_a_body_larger_than_the_budget_goes_alone() -> None:
    budget = ByteBudget(MOST)
    assert budget.has_room_for(5 * MOST)
    budget.hold("a", 5 * MOST)
    assert budget.can_grow("a", 9 * MOST)
    assert not budget.has_room_for(0)
    budget.release("a")
    budget.release("a")
    assert budget.held == 0


@dataclass(eq=False)
class Body:
    """A body: its real size, and what is left of its way."""

    size: int
    failures: int
    received: int = 0
    is_sent: bool = False
    is_done: bool = False


@given(
    st.lists(
        st.tuples(st.integers(0, 2 * MOST), st.integers(0, 2)).map(lambda each: Body(*each)),
        max_size=20,
    ),
    st.data(),
)
def test_bodies_are_read_in_order_whatever_comes_first(
    bodies: list[Body], data: st.DataObject
) -> None:
    """Any order of progress and failure ends.

    More than there may be is held only for the body that is read next, and for one that was alone.
    """
    budget, sizes = ByteBudget(MOST), BodySizes()
    sizes.estimate = data.draw(st.integers(0, MOST))
    unread = list(bodies)
    while unread:
        first = unread[0]
        assert budget.held >= sum(each.received for each in unread)
        others = sorted(each.received for each in unread if each is not first)
        assert sum(others[:-1]) <= MOST
        possible = [each for each in unread if _can_proceed(each, budget, sizes, first)]
        assert first in possible
        each = data.draw(st.sampled_from(possible))
        if each.is_done:
            budget.release(each)
            unread.remove(each)
        elif not each.is_sent:
            each.is_sent = True
            budget.hold(each, sizes.estimate)
        elif each.received < each.size:
            size = min(each.received + data.draw(st.integers(1, MOST)), each.size)
            if budget.can_grow(each, size) or each is first:
                budget.grow(each, size)
                each.received = size
            else:
                sizes.add(2 * size)
                _send_again(each, budget)
        elif each.failures:
            each.failures -= 1
            _send_again(each, budget)
        else:
            each.is_done = True
            budget.hold(each, each.size)
            sizes.add(each.size)
    assert budget.held == 0


def _can_proceed(each: Body, budget: ByteBudget, sizes: BodySizes, first: Body) -> bool:
    if each.is_done:
        return each is first
    return each.is_sent or each is first or budget.has_room_for(sizes.estimate)


def _send_again(each: Body, budget: ByteBudget) -> None:
    budget.release(each)
    each.is_sent = False
    each.received = 0
