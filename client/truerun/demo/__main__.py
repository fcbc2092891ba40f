"""Load the demo projects and show, with the same commands that a user types, what the service makes of them."""

from __future__ import annotations

import sys

from truerun.cli.exits import CommandError
from truerun.cli.main import main as truerun_command
from truerun.cli.output import Output
from truerun.cli.service import Service
from truerun.demo import heights, mirror, tabular, the_well
from truerun.settings import find_settings


def main() -> int:
    """Load what is missing, then print what there is to see."""
    service = Service(find_settings(url=None, token=None, mode=None))
    try:
        return _show(service)
    except CommandError as error:
        sys.stderr.write(f"truerun: {error}\n")
        return 1
    finally:
        service.close()


def _show(service: Service) -> int:
    is_new = heights.load(service)
    _say(
        "Project heights: two real runs of a team that predicts heights. Run 6 reported the best average ever."
        if is_new
        else "The demo project is still there from last time."
    )
    project = ["--project", heights.PROJECT]
    shown = [
        ["check", heights.CANDIDATE, *project],
        ["leaderboard", heights.SUITE, *project],
        ["alerts", *project],
    ]
    for command in shown:
        _say(f"\n$ truerun {' '.join(command)}\n")
        code = truerun_command(command)
        # `check` answers 1 for a closed gate, which is what this run deserves.
        if code not in (0, 1):
            return code
    _say("\nTwo more projects, of published results:\n")
    the_well.load(service)
    _say(f"{the_well.PROJECT}: {the_well.line(service)}")
    tabular.load(service)
    _say(f"{tabular.PROJECT}: {tabular.line(service)}")
    # Last, so that it was mirrored meanwhile.
    _say("")
    mirror.show(service, heights.PROJECT, Output(as_json=False))
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
