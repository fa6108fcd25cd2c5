"""Run the sandbox's command with ``python -m tap_compose.sandbox``."""

from __future__ import annotations

from tap_compose.sandbox.cli import main

main()
