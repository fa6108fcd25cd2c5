"""Run the tap with ``python -m tap_compose``."""

from __future__ import annotations

from tap_compose.tap import main

main()
