"""Taking out of a text what looks like a secret, before it leaves the host."""

from __future__ import annotations

import re

_SHOWN = "[removed]"
_LONGEST = 16_384
_SECRETS = (
    # name=value and name: value, where the name says what it is.
    re.compile(
        r"(?i)\b([\w.-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key|credential)[\w.-]*"
        r"[\"']?\s*[=:]\s*[\"']?)([^\s\"',;]+)"
    ),
    re.compile(r"(?i)\b(authorization:?\s*(?:bearer|basic)\s+)(\S+)"),
    # user:password@host in an address.
    re.compile(r"([a-z][a-z0-9+.-]*://[^\s:/@]*:)([^\s@/]+)(?=@)"),
    # Tokens that carry their kind in front.
    re.compile(
        r"()\b((?:trn|hf|ghp|gho|ghs|github_pat|glpat|xox[abprs]|sk|pk|rk|AKIA|ASIA)[_-]?[A-Za-z0-9_-]{16,})"
    ),
)


def redacted(text: str) -> str:
    """The text, cut to 16 KiB, without what looks like a password, a token or a key."""
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    for pattern in _SECRETS:
        cut = pattern.sub(lambda found: f"{found[1]}{_SHOWN}", cut)
    return cut
