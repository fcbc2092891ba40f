"""The command line `truerun`."""

from __future__ import annotations

from truerun.cli.main import main

__all__ = ["main"]
