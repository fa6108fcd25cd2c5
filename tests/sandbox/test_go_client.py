"""The vendor's own client, or one as strict, works against the sandbox."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tap_compose.sandbox.account import Size
from tap_compose.sandbox.quirks import Quirks
from tap_compose.sandbox.server import Sandbox
from tests.support import go_client
from tests.support.go_client import GoClient

SIZE = Size(deployments=24, events=150, recipes=6, accounts=2, quirks=Quirks.NONE)

NEVER_FILLED = {
    ("ConnectionStrings", "ssh_admin"),  # unused, says the reference
    ("Recipe", "source_reason"),  # null in what was recorded
}


def _objects(value: Any) -> list[msgspec.Struct]:
    """A struct and all structs in it."""
    if isinstance(value, list):
        return [each for item in value for each in _objects(item)]
    if not isinstance(value, msgspec.Struct):
        return []
    members = [getattr(value, name) for name in value.__struct_fields__]
    return [value, *(each for member in members for each in _objects(member))]


def _is_struct(value: Any) -> bool:
    return (
        isinstance(value, type)
        and value.__module__ == go_client.__name__
        and issubclass(value, msgspec.Struct)
    )


def test_every_call_works_and_no_value_is_empty() -> None:
    with Sandbox(SIZE) as sandbox:
        found = _objects(list(GoClient(sandbox.url, sandbox.token).everything()))
        paths = set(sandbox.log.paths)
    kinds = {each for each in vars(go_client).values() if _is_struct(each)}
    assert {type(each) for each in found} == kinds
    filled = {
        (type(each).__name__, name)
        for each in found
        for name in each.__struct_fields__
        if getattr(each, name) not in (None, "", [], {})
    }
    declared = {(kind.__name__, name) for kind in kinds for name in kind.__struct_fields__}
    assert declared - filled == NEVER_FILLED
    for shape in ("//audit_events/", "//deployments/", "/alerts/", "{"):
        assert any(shape in path for path in paths), shape


def _details(deployment: int, quirks: Quirks) -> go_client.Deployment:
    with Sandbox(Size(deployments=5, events=0, recipes=0, quirks=quirks)) as sandbox:
        path = f"deployments/{sandbox.account.deployment_ids[deployment]}"
        return GoClient(sandbox.url, sandbox.token).get(path, go_client.Deployment)


@pytest.mark.parametrize(
    ("deployment", "problem"),
    [
        (2, r"Expected `str` of length >= 1 - at `\$\.notes`"),
        (3, r"Expected `array`, got `str` - at `\$\.connection_strings\.health`"),
    ],
)
def test_the_client_is_strict(deployment: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        _details(deployment, Quirks.ALL)
    assert _details(deployment, Quirks.NONE).cluster_id
