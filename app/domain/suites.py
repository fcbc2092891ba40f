"""The door to suites: what makes evaluations comparable, in versions."""

from __future__ import annotations

from app.domain.comparability import CellDigests, Comparability, cell_digest, differing_fields
from app.domain.suite import (
    RESERVED_GROUPS,
    TIER_PREFIX,
    Group,
    Suite,
    counts_of,
    find_metric,
    has_explicit_weights,
    is_reserved,
    lead_metric,
    shares_of,
    tiers_of,
    weights,
)
from app.domain.suite_documents import suite_from_document, suite_to_document

__all__ = [
    "RESERVED_GROUPS",
    "TIER_PREFIX",
    "CellDigests",
    "Comparability",
    "Group",
    "Suite",
    "cell_digest",
    "counts_of",
    "differing_fields",
    "find_metric",
    "has_explicit_weights",
    "is_reserved",
    "lead_metric",
    "shares_of",
    "suite_from_document",
    "suite_to_document",
    "tiers_of",
    "weights",
]
