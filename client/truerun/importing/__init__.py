"""Past runs of other trackers, read from their files and services and sent as runs of ours."""

from __future__ import annotations

from truerun.importing.delivery import Refusal
from truerun.importing.past import PastRun, Source, SourceError, Unavailable
from truerun.importing.report import Outcome, document, lines
from truerun.importing.writer import Importer

__all__ = [
    "Importer",
    "Outcome",
    "PastRun",
    "Refusal",
    "Source",
    "SourceError",
    "Unavailable",
    "document",
    "lines",
]
