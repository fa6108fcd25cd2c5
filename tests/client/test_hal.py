"""Bodies of the Compose API: paths, JSON and envelopes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tap_compose.api import hal
from tap_compose.api.errors import UnreadableBodyError


def test_values_in_paths_are_percent_encoded() -> None:
    assert hal.url_path("/deployments/{}/alerts", "a/b?c=d&{e} f") == (
        "/deployments/a%2Fb%3Fc%3Dd%26%7Be%7D%20f/alerts"
    )


def test_single_objects() -> None:
    assert hal.single({"id": 1}) == {"id": 1}
    wrong: list[Any] = [[], {}, None, "text"]
    for body in wrong:
        with pytest.raises(UnreadableBodyError):
            hal.single(body)


def test_what_python_forgives_is_forgiven() -> None:
    found = hal.decode(b'{"a": NaN, "b": -Infinity, "c": 1.10}')
    assert found["a"].is_nan()
    assert (found["b"], found["c"]) == (Decimal("-Infinity"), Decimal("1.10"))
    assert hal.decode(b'["\\ud800", "\xff"]') == ["\ud800", "\udcff"]
    assert hal.decode(b'"\\ud83d\\ude00"') == "😀"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "an empty body"),
        (b"<html>maintenance</html>", "a body that is not JSON"),
        (b'{"_embedded": {"teams": [', "a body that is not JSON"),
        (b"[]", "a body without a list of teams"),
        (b'{"_embedded": null}', "a body without a list of teams"),
        (b'{"_embedded": {"teams": null}}', "a body without a list of teams"),
        (b'{"teams": []}', "a body without a list of teams"),
    ],
)
def test_a_body_of_the_wrong_shape(body: bytes, expected: str) -> None:
    with pytest.raises(UnreadableBodyError) as caught:
        hal.embedded(hal.decode(body), "teams")
    assert str(caught.value) == f"HTTP 200 with {expected}"
