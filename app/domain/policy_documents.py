"""A policy as a JSON document: read with every problem named, written canonically, described by a schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from app.domain.names import field_part, name_problem, unknown_key
from app.domain.policy import Combine, GapBand, Policy, PolicyRule, Scope, ScopeKind, Severity
from app.errors import InvalidInput, Problem

Path: TypeAlias = tuple[str | int, ...]
Found: TypeAlias = list[tuple[Path, str]]

MAX_RULES = 1000
MAX_POINTS = 100_000
NO_TOLERANCE = "none"
_DEFAULT = Policy()
_TOP = (
    "rel_tol",
    "abs_tol",
    "exceed",
    "improve_tol",
    "min_n",
    "zero_tol",
    "min_seeds",
    "confidence",
    "trend_factor",
    "volatile",
    "gap",
    "rule",
)
_GAP = ("min", "max", "relative", "required")
_SCOPES = ("group", "tier", "each", "overall")
_RULE = (
    "suite",
    "metric",
    *_SCOPES,
    "required",
    "rel_tol",
    "abs_tol",
    "max",
    "min",
    "unit",
    "severity",
    "points",
)


def policy_from_document(document: Mapping[str, Any], *, version: int = 0) -> Policy:
    """Read a policy.

    Raises:
        InvalidInput: Every problem, its field as a dotted path (`rule.1.rel_tol`).
    """
    policy, found = read_policy(document, version=version)
    if found:
        problems = [Problem(field=dotted(path) or None, message=message) for path, message in found]
        raise InvalidInput(
            f"{problems[0].field}: {problems[0].message}" if problems[0].field else problems[0].message,
            field=problems[0].field,
            problems=problems,
        )
    return policy


def dotted(path: Path) -> str:
    return ".".join(map(str, path))


def read_policy(document: object, *, version: int = 0) -> tuple[Policy, Found]:
    """The policy as far as it can be read, and every problem with the path of its key."""
    found: Found = []
    if not isinstance(document, Mapping):
        return _DEFAULT, [((), "a policy is an object (or a TOML document)")]
    _unknown(document, _TOP, (), found)
    read = _Reader(document, (), found)
    policy = Policy(
        version=version,
        rel_tol=read.tolerance("rel_tol", _DEFAULT.rel_tol),
        abs_tol=read.tolerance("abs_tol", None),
        combine=Combine(read.one_of("exceed", Combine, _DEFAULT.combine)),
        improve_tol=read.amount("improve_tol", _DEFAULT.improve_tol),
        min_n=read.count("min_n", _DEFAULT.min_n),
        zero_tol=read.amount("zero_tol", _DEFAULT.zero_tol),
        min_seeds=_read_min_seeds(read),
        confidence=_read_confidence(read),
        trend_factor=_read_trend_factor(read),
        volatile=_read_volatile(document.get("volatile"), found),
        gap=_read_gap(document.get("gap"), found),
        rules=_read_rules(document.get("rule"), found),
    )
    if policy.rel_tol is None and policy.abs_tol is None and not found:
        found.append((("rel_tol",), "give rel_tol or abs_tol; 0 means that nothing worse is tolerated"))
    return policy, found


class _Reader:
    """One table of a document: typed reads that note what is wrong and go on with the default."""

    def __init__(self, table: Mapping[str, Any], path: Path, found: Found) -> None:
        self._table, self._path, self._found = table, path, found

    def note(self, key: str, message: str) -> None:
        self._found.append(((*self._path, key), message))

    def number(self, key: str) -> float | None:
        value = self._table.get(key)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308 * 1.79:
            return float(value)
        self.note(key, f"must be a finite number, not {_shown(value)}")
        return None

    def tolerance(self, key: str, default: float | None) -> float | None:
        """A number ≥ 0 or none at all; an explicit null (in TOML, which has no null: "none") takes the
        default away.
        """
        if key not in self._table:
            return default
        if self._table[key] == NO_TOLERANCE:
            return None
        value = self.number(key)
        if value is not None and value < 0:
            self.note(key, f"must not be negative, not {_shown(value)}")
        return value

    def amount(self, key: str, default: float) -> float:
        """A number ≥ 0; null is the default."""
        value = self.tolerance(key, default)
        return default if value is None else value

    def count(self, key: str, default: int) -> int:
        value = self._table.get(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53:
            return value
        self.note(key, f"must be a whole number ≥ 0, not {_shown(value)}")
        return default

    def points(self, key: str) -> int | None:
        value = self._table.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_POINTS:
            return value
        self.note(key, f"must be a whole number from 1 to {MAX_POINTS}, not {_shown(value)}")
        return None

    def flag(self, key: str) -> bool | None:
        value = self._table.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.note(key, f"must be true or false, not {_shown(value)}")
        return None

    def name(self, key: str) -> str | None:
        value = self._table.get(key)
        if value is None:
            return None
        if problem := name_problem(value):
            self.note(key, problem)
            return None
        return str(value)

    def one_of(self, key: str, words: Iterable[str], default: str) -> str:
        value = self._table.get(key)
        if value is None:
            return default
        known = list(words)
        if value in known:
            return str(value)
        self.note(key, f"must be one of {', '.join(known)}, not {_shown(value)}")
        return default


def _read_min_seeds(read: _Reader) -> int:
    seeds = read.count("min_seeds", _DEFAULT.min_seeds)
    if seeds < 2:
        read.note("min_seeds", f"must be 2 or more, not {seeds}: one seed has no spread")
    return seeds


def _read_confidence(read: _Reader) -> float:
    confidence = read.number("confidence")
    if confidence is None:
        return _DEFAULT.confidence
    if not 0.5 <= confidence <= 0.9999:
        read.note("confidence", f"must lie between 0.5 and 0.9999, not {_shown(confidence)}")
    return confidence


def _read_trend_factor(read: _Reader) -> float:
    factor = read.number("trend_factor")
    if factor is None:
        return _DEFAULT.trend_factor
    if factor < 1.0:
        read.note("trend_factor", f"must be 1 or more, not {_shown(factor)}")
    return factor


def _read_volatile(value: object, found: Found) -> tuple[str, ...]:
    if value is None:
        return _DEFAULT.volatile
    if not isinstance(value, list | tuple) or not all(
        isinstance(item, str) and item and item.isprintable() for item in value
    ):
        found.append((("volatile",), 'must be a list of patterns such as ["*dir*", "host*"]'))
        return _DEFAULT.volatile
    return tuple(value)


def _read_gap(value: object, found: Found) -> GapBand | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        found.append((("gap",), "must be a table such as { min = 0.02, max = 0.08 }"))
        return None
    _unknown(value, _GAP, ("gap",), found)
    read = _Reader(value, ("gap",), found)
    band = GapBand(
        min=read.number("min"),
        max=read.number("max"),
        relative=bool(read.flag("relative")),
        required=bool(read.flag("required")),
    )
    if band.min is None and band.max is None:
        found.append((("gap",), "give min, max or both, or leave the band out"))
    _check_order(band.min, band.max, read)
    return band


def _read_rules(value: object, found: Found) -> tuple[PolicyRule, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > MAX_RULES:
        found.append((("rule",), f"must be a list of at most {MAX_RULES} rules, each a [[rule]] table"))
        return ()
    return tuple(_read_rule(item, ("rule", i), found) for i, item in enumerate(value))


def _read_rule(value: object, path: Path, found: Found) -> PolicyRule:
    if not isinstance(value, Mapping):
        found.append((path, 'must be a table such as { metric = "mse", tier = "easy", max = 0.15 }'))
        return PolicyRule()
    before = len(found)
    _unknown(value, _RULE, path, found)
    read = _Reader(value, path, found)
    rule = PolicyRule(
        suite=read.name("suite"),
        metric=read.name("metric"),
        scope=_read_scope(value, read),
        required=read.flag("required"),
        rel_tol=read.tolerance("rel_tol", None),
        abs_tol=read.tolerance("abs_tol", None),
        max=read.number("max"),
        min=read.number("min"),
        unit=read.name("unit"),
        severity=Severity(read.one_of("severity", Severity, Severity.FAIL)),
        points=read.points("points"),
    )
    if len(found) == before:
        _check_rule(rule, value, read)
    return rule


def _read_scope(value: Mapping[str, Any], read: _Reader) -> Scope | None:
    given = [key for key in _SCOPES if value.get(key) is not None]
    if len(given) > 1:
        read.note(given[1], f"a rule has one scope; {given[0]} is given too")
        return None
    if not given:
        return None
    key = given[0]
    if key in ("each", "overall") and value[key] is True:
        return Scope(kind=ScopeKind(key))
    if key == "overall" or value[key] is False:
        read.note(key, "can only be true; leave it out otherwise")
        return None
    return Scope(kind=ScopeKind(key), name=read.name(key))


def _check_rule(rule: PolicyRule, value: Mapping[str, Any], read: _Reader) -> None:
    tolerance = rule.rel_tol is not None or rule.abs_tol is not None
    if rule.is_limit and tolerance:
        read.note(
            "rel_tol" if rule.rel_tol is not None else "abs_tol",
            "a rule is a limit (max, min) or a tolerance (rel_tol, abs_tol); write two rules",
        )
    if rule.is_limit and rule.metric is None:
        read.note("max" if rule.max is not None else "min", "a limit needs a metric")
    if not rule.is_limit and not tolerance and rule.required is None:
        read.note("metric", "the rule says nothing; give max, min, rel_tol, abs_tol or required")
    for key in ("unit", "severity", "points"):
        if not rule.is_limit and value.get(key) is not None:
            read.note(key, "belongs to a limit; give max or min")
    _check_order(rule.min, rule.max, read)


def _check_order(low: float | None, high: float | None, read: _Reader) -> None:
    if low is not None and high is not None and low > high:
        read.note("min", f"min {low:g} is above max {high:g}, so nothing could pass")


def _unknown(table: Mapping[str, Any], known: Iterable[str], path: Path, found: Found) -> None:
    names = list(known)
    found.extend(((*path, field_part(key)), unknown_key(key, names)) for key in table if key not in names)


def _shown(value: object) -> str:
    return repr(value)[:64]


def policy_to_document(policy: Policy) -> dict[str, Any]:
    """The canonical document; `policy_from_document` reads it back but for the version."""
    return {
        "rel_tol": policy.rel_tol,
        "abs_tol": policy.abs_tol,
        "exceed": policy.combine.value,
        "improve_tol": policy.improve_tol,
        "min_n": policy.min_n,
        "zero_tol": policy.zero_tol,
        "min_seeds": policy.min_seeds,
        "confidence": policy.confidence,
        "trend_factor": policy.trend_factor,
        "volatile": list(policy.volatile),
        "gap": policy.gap
        and {
            "min": policy.gap.min,
            "max": policy.gap.max,
            "relative": policy.gap.relative,
            "required": policy.gap.required,
        },
        "rule": [_rule_document(rule) for rule in policy.rules],
    }


def _rule_document(rule: PolicyRule) -> dict[str, Any]:
    document: dict[str, Any] = {"suite": rule.suite, "metric": rule.metric}
    if rule.scope is not None:
        document[rule.scope.kind.value] = True if rule.scope.name is None else rule.scope.name
    document |= {key: getattr(rule, key) for key in ("required", "rel_tol", "abs_tol", "max", "min", "unit")}
    if rule.is_limit:
        document["severity"] = rule.severity.value
        document["points"] = rule.points
    return {key: value for key, value in document.items() if value is not None}
