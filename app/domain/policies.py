"""The door to policies: the type, its documents (JSON and TOML), templates, and what contradicts what."""

from __future__ import annotations

from app.domain.contradictions import contradictions
from app.domain.policy import Combine, GapBand, Policy, PolicyRule, Scope, ScopeKind, Severity
from app.domain.policy_documents import policy_from_document, policy_to_document
from app.domain.policy_schema import JSON_SCHEMA
from app.domain.policy_toml import TEMPLATES, policy_from_toml, policy_to_toml, template

__all__ = [
    "JSON_SCHEMA",
    "TEMPLATES",
    "Combine",
    "GapBand",
    "Policy",
    "PolicyRule",
    "Scope",
    "ScopeKind",
    "Severity",
    "contradictions",
    "policy_from_document",
    "policy_from_toml",
    "policy_to_document",
    "policy_to_toml",
    "template",
]
