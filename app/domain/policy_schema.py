"""The JSON schema of a policy document, for editors and forms."""

from __future__ import annotations

from typing import Any

from app.domain.policy_documents import MAX_POINTS, MAX_RULES


def _optional(kind: str, text: str, **more: Any) -> dict[str, Any]:
    return {"type": [kind, "null"], "description": text, **more}


def _not_negative(text: str) -> dict[str, Any]:
    return _optional("number", text, minimum=0)


JSON_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Truerun policy",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "rel_tol": _not_negative(
            "How much worse still passes, as a share of the champion's distance to perfection."
        ),
        "abs_tol": _not_negative("How much worse still passes, in the metric's unit."),
        "exceed": {
            "enum": ["all", "any"],
            "description": "Whether a regression exceeds all tolerances given, or any.",
        },
        "improve_tol": {
            "type": "number",
            "minimum": 0,
            "description": "From which share on better is improved.",
        },
        "min_n": {"type": "integer", "minimum": 0, "description": "Fewest samples of a group to be judged."},
        "zero_tol": {"type": "number", "minimum": 0, "description": "A scale up to this counts as zero."},
        "min_seeds": {
            "type": "integer",
            "minimum": 2,
            "description": "From how many seeds of the champion's recipe on their spread is known.",
        },
        "confidence": {
            "type": "number",
            "minimum": 0.5,
            "maximum": 0.9999,
            "description": "One-sided, of the interval that a change must leave to be more than seed noise.",
        },
        "trend_factor": {
            "type": "number",
            "minimum": 1,
            "description": "How many times the limit the best champion of the past may be missed by.",
        },
        "volatile": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "description": "Shell patterns of config keys that do not belong to a recipe.",
        },
        "gap": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "anyOf": [{"required": ["min"]}, {"required": ["max"]}, {"maxProperties": 0, "type": "null"}],
            "description": "Where validation minus training loss should lie.",
            "properties": {
                "min": {"type": ["number", "null"]},
                "max": {"type": ["number", "null"]},
                "relative": {"type": "boolean", "description": "Divided by the validation loss."},
                "required": {"type": "boolean"},
            },
        },
        "rule": {
            "type": "array",
            "maxItems": MAX_RULES,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "suite": _optional("string", "The suite it applies to; every suite when left out."),
                    "metric": _optional("string", "The metric; a limit needs one."),
                    "group": _optional("string", "One group."),
                    "tier": _optional("string", "One tier's aggregate."),
                    "each": {
                        "type": ["boolean", "string"],
                        "description": "true: every group; a tier: its groups.",
                    },
                    "overall": {"const": True, "description": "The overall."},
                    "required": _optional("boolean", "Whether the gate depends on it."),
                    "rel_tol": _not_negative("As above, for these cells."),
                    "abs_tol": _not_negative("As above, for these cells."),
                    "max": _optional("number", "Upper limit, inclusive, in the metric's unit."),
                    "min": _optional("number", "Lower limit, inclusive, in the metric's unit."),
                    "unit": _optional(
                        "string", "Unit of the limit; another unit of the metric is not compared."
                    ),
                    "severity": {
                        "enum": ["fail", "warn"],
                        "description": "fail closes the gate, warn advises.",
                    },
                    "points": {
                        "type": "integer",
                        "minimum": 1,
                        "maximum": MAX_POINTS,
                        "description": "During training: how many points in a row must break the limit to alert.",
                    },
                },
            },
        },
    },
}
