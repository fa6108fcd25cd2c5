"""Thousands of deployment_ids: what is done for each may not grow with their number."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from tap_compose.api.transport import Response
from tap_compose.run import Run

if TYPE_CHECKING:
    from tap_compose.api.transport import Transport


class _Counted(str):
    """A text that counts how often it is hashed or compared."""

    __slots__ = ()
    uses: ClassVar = 0

    def __hash__(self) -> int:
        type(self).uses += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        type(self).uses += 1
        return super().__eq__(other)


class _OneList:
    """Answers with a list of deployments, whatever is asked."""

    def __init__(self, ids: list[str]) -> None:
        entries = [{"id": each} for each in ids]
        self._body = json.dumps({"_embedded": {"deployments": entries}}).encode()

    def get(self, _url: str, _timeout: float, _receive: object = None) -> Response:
        return Response(200, {}, self._body)

    def renew_connections(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_choosing_deployments_takes_a_few_comparisons_for_each() -> None:
    existing = [f"{number:024x}" for number in range(2000)]
    chosen = [_Counted(each) for each in existing[500:]] + [_Counted("unknown")] * 500
    transport: Transport = _OneList(existing)
    config = {"api_token": "t", "deployment_ids": chosen}
    run = Run(config, transport)
    assert run.deployment_ids() == existing[500:]
    assert [gap.reason for gap in run.report.gaps] == [
        "deployment unknown of deployment_ids does not exist in this account"
    ]
    run.close()
    assert _Counted.uses < 20 * len(chosen)
