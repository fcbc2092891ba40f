from __future__ import annotations

import re
from typing import Any

import pytest

import truerun
from tests.client.fake_service import PROJECT_TOKEN, FakeService
from truerun.resumption import key_of_job

KEY = re.compile(r"[A-Za-z0-9._-]{1,128}")


def test_the_same_job_and_script_is_the_same_run_and_others_are_not() -> None:
    job = {"SLURM_JOB_ID": "4711"}

    key = key_of_job(job, "/home/me/train.py")

    assert key is not None
    assert KEY.fullmatch(key)
    assert key == key_of_job(dict(job), "/home/me/train.py")
    others = [
        key_of_job({"SLURM_JOB_ID": "4712"}, "/home/me/train.py"),
        key_of_job(job, "/home/me/other.py"),
        key_of_job({"SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "1"}, "/home/me/train.py"),
        key_of_job({"SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "2"}, "/home/me/train.py"),
    ]
    assert len({key, *others}) == 5


@pytest.mark.parametrize(
    "environ", [{}, {"TORCHELASTIC_RUN_ID": "none"}, {"TORCHELASTIC_RUN_ID": ""}, {"SLURM_JOB_ID": "  "}]
)
def test_a_name_that_strangers_share_is_no_key(environ: dict[str, str]) -> None:
    assert key_of_job(environ, "train.py") is None


def test_odd_names_become_keys() -> None:
    key = key_of_job({"JOB_NAME": "träin/x y" * 50, "JOB_COMPLETION_INDEX": "3"}, "train.py")

    assert key is not None
    assert KEY.fullmatch(key)


def test_only_whoever_asks_goes_on_in_the_run_of_the_job(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    options: dict[str, Any] = {"url": service.url, "token": PROJECT_TOKEN}

    truerun.init("burgers", **options).finish()
    for _ in range(2):
        truerun.init("burgers", resume="auto", resume_step=40, **options).finish()

    keys = list(service.runs)
    assert len(keys) == 2
    assert keys[1].startswith("slurm-4711-")
    assert service.runs[keys[1]]["resume_step"] == 40
    with pytest.raises(ValueError, match="resume"):
        truerun.init("burgers", resume="always", **options)  # type: ignore[arg-type]
