"""Policies as documents: every problem has a place, every document brings the same policy back."""

from __future__ import annotations

import json
import re

import pytest

from app.domain.policies import (
    JSON_SCHEMA,
    TEMPLATES,
    Combine,
    GapBand,
    Policy,
    PolicyRule,
    Scope,
    ScopeKind,
    Severity,
    policy_from_document,
    policy_from_toml,
    policy_to_document,
    policy_to_toml,
    template,
)
from app.domain.policy_documents import MAX_RULES
from app.errors import InvalidInput, NotFound

FULL = Policy(
    rel_tol=0.2,
    abs_tol=0.01,
    combine=Combine.ANY,
    improve_tol=0.0,
    min_n=5,
    zero_tol=0.0,
    min_seeds=2,
    confidence=0.95,
    trend_factor=2.0,
    volatile=("*tmp*", 'a "quoted" one'),
    gap=GapBand(min=0.02, max=0.08, relative=True, required=True),
    rules=(
        PolicyRule(rel_tol=0.3),
        PolicyRule(
            suite="s", metric="loss/pde", scope=Scope(kind=ScopeKind.GROUP, name="k=4,m=2"), abs_tol=0.0
        ),
        PolicyRule(metric="mse", scope=Scope(kind=ScopeKind.TIER, name="easy"), max=0.15, unit="m²"),
        PolicyRule(
            metric="mse", scope=Scope(kind=ScopeKind.EACH), min=-1e22, max=1e-9, severity=Severity.WARN
        ),
        PolicyRule(metric="mse", scope=Scope(kind=ScopeKind.EACH, name="easy"), required=False),
        PolicyRule(metric="mse", scope=Scope(kind=ScopeKind.OVERALL), max=1.0, required=True),
    ),
)


@pytest.mark.parametrize(
    "policy", [Policy(), FULL, Policy(rel_tol=None, abs_tol=0.1), Policy(gap=GapBand(max=1.0))]
)
def test_a_document_brings_the_same_policy_back(policy: Policy) -> None:
    document = json.loads(json.dumps(policy_to_document(policy)))

    assert policy_from_document(document) == policy
    assert policy_from_toml(policy_to_toml(policy)) == policy


def test_the_version_is_given_from_outside() -> None:
    assert policy_from_document({}, version=7) == Policy(version=7)
    assert policy_from_toml("", version=7) == Policy(version=7)


def test_the_default_template_is_the_built_in_policy_with_its_words() -> None:
    assert policy_from_toml(template("default")) == Policy()
    assert template("default").count("#") > 10


def test_the_pde_template_adds_the_physics_gates() -> None:
    policy = policy_from_toml(template("pde"))

    limits = {rule.metric: (rule.max, rule.severity) for rule in policy.rules}
    assert limits == {
        "conservation_gap": (5.0, Severity.FAIL),
        "bc_violation": (1.0, Severity.FAIL),
        "negativity_penalty": (0.5, Severity.FAIL),
    }
    assert policy == Policy(rules=policy.rules)


def test_what_the_templates_leave_commented_is_valid_too() -> None:
    for text in TEMPLATES.values():
        lines = [
            line for line in text.splitlines() if not line.startswith("#") or re.match(r"# (\[|\w+ = )", line)
        ]

        policy = policy_from_toml("\n".join(line.removeprefix("# ") for line in lines))

        assert policy.gap == GapBand(min=0.02, max=0.08)
        assert policy.rules[0].max == 0.15


def test_another_template_names_those_there_are() -> None:
    with pytest.raises(NotFound, match="default, pde"):
        template("other")


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ([], [None]),
        ({"rel_to": 0.1}, ["rel_to"]),
        ({"rel_tol": "10 %"}, ["rel_tol"]),
        ({"rel_tol": True}, ["rel_tol"]),
        ({"rel_tol": -0.1}, ["rel_tol"]),
        ({"rel_tol": float("nan")}, ["rel_tol"]),
        ({"rel_tol": float("inf")}, ["rel_tol"]),
        ({"rel_tol": 10**400}, ["rel_tol"]),
        ({"rel_tol": None}, ["rel_tol"]),
        ({"exceed": "some"}, ["exceed"]),
        ({"improve_tol": -1}, ["improve_tol"]),
        ({"min_n": 1.5}, ["min_n"]),
        ({"min_n": -1}, ["min_n"]),
        ({"min_n": True}, ["min_n"]),
        ({"zero_tol": -1}, ["zero_tol"]),
        ({"min_seeds": 1}, ["min_seeds"]),
        ({"min_seeds": 2.5}, ["min_seeds"]),
        ({"confidence": 1}, ["confidence"]),
        ({"confidence": 0.49}, ["confidence"]),
        ({"confidence": True}, ["confidence"]),
        ({"trend_factor": 0.9}, ["trend_factor"]),
        ({"volatile": "host"}, ["volatile"]),
        ({"volatile": [5]}, ["volatile"]),
        ({"volatile": ["a\x7f"]}, ["volatile"]),
        ({"gap": 5}, ["gap"]),
        ({"gap": {}}, ["gap"]),
        ({"gap": {"min": 2, "max": 1}}, ["gap.min"]),
        ({"gap": {"max": 1, "relativ": True}}, ["gap.relativ"]),
        ({"gap": {"max": 1, "relative": "yes"}}, ["gap.relative"]),
        ({"rule": {}}, ["rule"]),
        ({"rule": [{}] * (MAX_RULES + 1)}, ["rule"]),
        ({"rule": [5]}, ["rule.0"]),
        ({"rule": [{"metric": "m"}]}, ["rule.0.metric"]),
        ({"rule": [{"metric": "m", "max": 1}, {"max": 1}]}, ["rule.1.max"]),
        ({"rule": [{"metric": "m", "max": 1, "rel_tol": 0.1}]}, ["rule.0.rel_tol"]),
        ({"rule": [{"metric": "m", "max": 1, "min": 2}]}, ["rule.0.min"]),
        ({"rule": [{"metric": "m", "max": "1"}]}, ["rule.0.max"]),
        ({"rule": [{"metric": "m", "max": 1, "tier": "a", "group": "b"}]}, ["rule.0.tier"]),
        ({"rule": [{"metric": "m", "max": 1, "each": False}]}, ["rule.0.each"]),
        ({"rule": [{"metric": "m", "max": 1, "overall": "yes"}]}, ["rule.0.overall"]),
        ({"rule": [{"metric": "m", "max": 1, "group": ""}]}, ["rule.0.group"]),
        ({"rule": [{"metric": "m", "max": 1, "severity": "info"}]}, ["rule.0.severity"]),
        ({"rule": [{"rel_tol": 0.1, "severity": "warn"}]}, ["rule.0.severity"]),
        ({"rule": [{"rel_tol": 0.1, "unit": "m"}]}, ["rule.0.unit"]),
        ({"rule": [{"rel_tol": -1}]}, ["rule.0.rel_tol"]),
        ({"rule": [{"metric": "m", "max": 1, "required": 1}]}, ["rule.0.required"]),
        ({"min_n": -1, "rule": [{"maxx": 1}]}, ["min_n", "rule.0.maxx"]),
    ],
)
def test_every_problem_of_a_document_names_its_field(document: object, fields: list[str | None]) -> None:
    with pytest.raises(InvalidInput) as caught:
        policy_from_document(document)

    assert [problem.field for problem in caught.value.problems] == fields
    assert caught.value.field == fields[0]


def test_a_misspelt_key_is_guessed() -> None:
    with pytest.raises(InvalidInput, match="unknown key 'rel_to'; did you mean rel_tol"):
        policy_from_document({"rel_to": 0.1})


TOML = """\
rel_tol = 0.1
abs_tol = "much"   # line 2

volatile = [
  "min_n = 5",     # not a key
  "*dir*",
]

[gap]
min = "low"        # line 10

[[rule]]
metric = "mse"
max = 0.15

[[ rule ]]         # line 16
rel_to = 0.1

[[rule]]
metric = '''
three = 3
'''
max = 1
"unit" = 5         # line 24
"""


def test_every_problem_of_a_toml_document_names_its_line() -> None:
    with pytest.raises(InvalidInput) as caught:
        policy_from_toml(TOML)

    assert [problem.field for problem in caught.value.problems] == [
        "line 2, abs_tol",
        "line 10, gap, min",
        "line 9, gap",
        "line 17, [[rule]] 2, rel_to",
        "line 20, [[rule]] 3, metric",
        "line 24, [[rule]] 3, unit",
    ]
    assert str(caught.value).startswith("line 2, abs_tol: must be a finite number")


def test_a_missing_key_is_reported_at_the_table_that_lacks_it() -> None:
    with pytest.raises(InvalidInput) as caught:
        policy_from_toml('min_n = 5\n\n[[rule]]\nmax = 1\n\n[[rule]]\nsuite = "s"\n')

    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["line 4, [[rule]] 1, max", "line 6, [[rule]] 2, metric"]


def test_inline_tables_have_the_line_of_their_key() -> None:
    with pytest.raises(InvalidInput) as caught:
        policy_from_toml('min_n = 5\nrule = [{ metric = "m", max = 1 }, { metric = "m", maxx = 1 }]\n')

    assert caught.value.field == "line 2, [[rule]] 2, maxx"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("rel_tol = 0.1\nmin_n = = 5\n", "line 2"),
        ("rel_tol = 0.1\nrel_tol = 0.2\n", "line 2"),
        ("rel_tol = [", "end of document"),
        ("rel_tol = nan", "line 1, rel_tol"),
        ("rel_tol = 1e999", "line 1, rel_tol"),
        ("x = " + "[" * 5000 + "]" * 5000, None),
        ("x = 1" + "0" * 5000, None),
        ("\x00", "line 1"),
    ],
)
def test_broken_toml_names_its_line(text: str, field: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        policy_from_toml(text)

    assert caught.value.field == field


def test_the_schema_knows_every_key() -> None:
    properties = JSON_SCHEMA["properties"]
    document = policy_to_document(FULL)

    assert set(properties) == set(document)
    assert set(properties["gap"]["properties"]) == set(document["gap"])
    assert set(properties["rule"]["items"]["properties"]) >= {
        key for rule in document["rule"] for key in rule
    }
    json.dumps(JSON_SCHEMA)


def test_no_tolerance_at_all_is_no_policy() -> None:
    with pytest.raises(InvalidInput, match="give rel_tol or abs_tol"):
        policy_from_toml('rel_tol = "none"')

    assert policy_from_toml('rel_tol = "none"\nabs_tol = 0.1') == Policy(rel_tol=None, abs_tol=0.1)
    assert policy_from_toml("rel_tol = 0") == Policy(rel_tol=0.0)


def test_a_document_from_before_seeds_were_known_reads_as_the_defaults() -> None:
    document = policy_to_document(Policy())
    old = {key: document[key] for key in document if key not in ("min_seeds", "confidence", "trend_factor")}

    assert policy_from_document(old) == Policy()
    assert (Policy().min_seeds, Policy().confidence, Policy().trend_factor) == (3, 0.99, 1.5)
