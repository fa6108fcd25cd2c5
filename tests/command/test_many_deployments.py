"""Thousands of deployment_ids: what is done for each may not grow with their number."""

from __future__ import annotations

from typing import ClassVar

import responses

from tap_compose.run import Run


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


@responses.activate
def test_choosing_deployments_takes_a_few_comparisons_for_each() -> None:
    existing = [f"{number:024x}" for number in range(2000)]
    chosen = [_Counted(each) for each in existing[500:]] + [_Counted("unknown")] * 500
    body = {"_embedded": {"deployments": [{"id": each} for each in existing]}}
    responses.get("https://api.compose.io/2016-07/deployments", json=body)
    run = Run({"api_token": "t", "deployment_ids": chosen})
    assert run.ids_of("/deployments") == existing[500:]
    (missing,) = run.report.of("deployment_ids").missing.values()
    assert missing.reason == "the account has no deployment unknown"
    run.close()
    assert _Counted.uses < 20 * len(chosen)
