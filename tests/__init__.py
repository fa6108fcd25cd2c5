"""Tests of tap-compose: offline, against the sandbox over real HTTP."""
