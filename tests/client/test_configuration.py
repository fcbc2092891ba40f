"""A configuration of any shape becomes JSON that the service can keep."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truerun import wire
from truerun.configuration import Config, as_json, as_line, as_notes, config_values

numpy = pytest.importorskip("numpy")


class Kind(enum.Enum):
    UNET = "unet"


@dataclasses.dataclass
class Optimizer:
    lr: float = 3e-4


class HostileRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def a_function() -> None:
    pass


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        pytest.param(numpy.int64(3), 3, id="numpy int"),
        pytest.param(numpy.float32(0.5), 0.5, id="numpy float"),
        pytest.param(numpy.zeros((2, 3)), "ndarray(2, 3)", id="array"),
        pytest.param(Path("/data/x"), "/data/x", id="path"),
        pytest.param(Kind.UNET, "unet", id="enum"),
        pytest.param(Optimizer(), {"lr": 3e-4}, id="dataclass"),
        pytest.param(argparse.Namespace(a=1), {"a": 1}, id="namespace"),
        pytest.param({1: (2, 3)}, {"1": [2, 3]}, id="keys become text"),
        pytest.param({"b", "a"}, ["a", "b"], id="set in a fixed order"),
        pytest.param(2**63, str(2**63), id="beyond 64 bits"),
        pytest.param(-(2**63), -(2**63), id="64 bits"),
        pytest.param("a\x00b\ud800", "a␀b?", id="what Postgres refuses"),
        pytest.param(True, True, id="bool"),
        pytest.param(None, None, id="none"),
        pytest.param(a_function, f"{__name__}.a_function", id="function"),
        pytest.param(HostileRepr(), "HostileRepr", id="a hostile repr"),
        pytest.param(b"\x01", "b'\\x01'", id="bytes"),
    ],
)
def test_values_of_every_kind_have_a_json_form(value: Any, kept: Any) -> None:
    assert as_json(value) == kept


def test_a_configuration_that_contains_itself_ends() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless["b"] = [endless, endless]

    kept = wire.encode(as_json(endless))

    assert len(kept) < 1_000_000


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
        max_leaves=20,
    )
)
def test_every_configuration_is_strict_json(value: Any) -> None:
    text = wire.encode({"config": as_json(value)})

    json.loads(text, parse_constant=lambda _: pytest.fail("not strict JSON"))
    assert b"\\u0000" not in text


def test_config_reads_and_writes_by_item_and_by_attribute() -> None:
    changes: list[int] = []
    config = Config({"lr": 1e-3}, lambda: changes.append(1))

    config.width = 64
    config["depth"] = 4
    config.update({"lr": 1e-4})
    del config["depth"]

    assert (config.lr, config["width"], dict(config)) == (1e-4, 64, {"lr": 1e-4, "width": 64})
    assert len(changes) == 4
    assert not hasattr(config, "depth")
    assert dict(pickle.loads(pickle.dumps(config))) == dict(config)


def test_a_value_that_will_not_be_read_costs_itself_only() -> None:
    class Unset(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            if key == "missing":
                raise LookupError("???")
            return super().__getitem__(key)

    assert config_values(Unset(a=1, missing=2)) == {"a": 1, "missing": "unreadable: LookupError"}


@pytest.mark.parametrize("config", [3, "lr=1", [("lr", 1)], Optimizer])
def test_what_has_no_names_is_no_configuration(config: Any) -> None:
    with pytest.raises(TypeError, match="config must be"):
        config_values(config)


def test_a_dataclass_and_a_namespace_are_configurations() -> None:
    assert config_values(Optimizer(lr=math.inf)) == {"lr": math.inf}
    assert config_values(argparse.Namespace(a=1)) == {"a": 1}
    assert config_values(None) == {}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("unet\n64\x00", "unet 64"),
        ("  ", None),
        ("x" * 300, "x" * 256),
        ("\ud800a", "a"),
        ("übung 数", "übung 数"),
        (None, None),
    ],
)
def test_a_name_is_one_line_that_the_service_takes(name: str | None, line: str | None) -> None:
    assert as_line(name) == line


@given(st.text(max_size=400))
def test_no_name_or_note_can_cost_the_run(text: str) -> None:
    line, notes = as_line(text), as_notes(text)

    assert line is None or (line.isprintable() and 0 < len(line) <= 256 and line == line.strip())
    assert notes is not None
    assert "\x00" not in notes
    notes.encode()
