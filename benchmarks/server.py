"""The sandbox for a benchmark, in a separate process: flat recipes, nothing to skip."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tap_compose.sandbox.account import Account, Size
from tap_compose.sandbox.server import Sandbox

if TYPE_CHECKING:
    from tap_compose.sandbox.data import Body


class BenchmarkAccount(Account):
    """An account whose every deployment can be read."""

    leaving = None

    def resource(self, deployment_id: str, name: str) -> Body:
        body = super().resource(deployment_id, name)
        if name == "recipes":
            for recipe in body["_embedded"]["recipes"]:
                recipe["_embedded"]["recipes"] = []
        return body


def main() -> None:
    """Serve until killed; print the port."""
    parser = argparse.ArgumentParser()
    for name in ("deployments", "events", "recipes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--latency", type=float, required=True)
    parser.add_argument("--rate", type=int)
    parser.add_argument("--retry-after", type=int)
    options = parser.parse_args()
    account = BenchmarkAccount(Size(options.deployments, options.events, options.recipes))
    with Sandbox(
        account=account,
        latency=options.latency,
        rate=options.rate,
        retry_after=options.retry_after,
    ) as sandbox:
        print(sandbox.url, sandbox.token, *account.deployment_ids, flush=True)
        sandbox.wait()


if __name__ == "__main__":
    main()
