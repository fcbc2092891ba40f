"""The part of curl that the pages use, so that they can be tried on machines without it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import httpx


def main() -> int:
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-S", "--show-error", action="store_true")
    parser.add_argument("-f", "--fail", action="store_true")
    parser.add_argument("--fail-with-body", action="store_true")
    parser.add_argument("-X", "--request")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data", "--json")
    parser.add_argument("--data-binary")
    parser.add_argument("-o", "--output")
    parser.add_argument("-w", "--write-out", default="")
    parser.add_argument("url")
    asked = parser.parse_args()
    data = asked.data if asked.data is not None else asked.data_binary
    if data is not None and data.startswith("@"):
        data = sys.stdin.read() if data == "@-" else Path(data[1:]).read_text()
    headers = dict(line.split(": ", 1) for line in asked.header)
    if "--json" in sys.argv:
        headers.setdefault("Content-Type", "application/json")
    answer = httpx.request(
        asked.request or ("GET" if data is None else "POST"),
        asked.url,
        headers=headers,
        content=data,
        timeout=30,
    )
    failed = (asked.fail or asked.fail_with_body) and answer.is_error
    if not (failed and asked.fail):
        if asked.output:
            Path(asked.output).write_bytes(answer.content)
        else:
            sys.stdout.write(answer.text)
    sys.stdout.write(asked.write_out.replace("%{http_code}", str(answer.status_code)).replace("\\n", "\n"))
    return 22 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
