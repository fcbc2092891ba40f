from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from app.domain.images import MOST_BYTES, MOST_IMAGES
from tests.api.calling import Caller
from tests.api.recording import books, opened, others, points, send
from tests.pictures import a_jpeg, a_png, a_png_that_says

pytestmark = pytest.mark.usefixtures("burgers")
OTHER_STREAM = UUID(int=2)


def an_image(name: Any = "spectrum", data: bytes = a_png(), **says: Any) -> dict[str, Any]:
    return {
        "type": "image",
        "name": name,
        "step": 0,
        "caption": "",
        "data": base64.b64encode(data).decode(),
        **says,
    }


def listed(admin: Caller, run_id: str, **query: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = admin.get(f"/runs/{run_id}/images", query=query)["items"]
    return items


def test_images_come_back_byte_by_byte_with_the_type_that_their_bytes_say(admin: Caller) -> None:
    run_id, _ = opened(admin)
    grey, photo = a_png(5, 3), a_jpeg(6, 4)
    batch = others(
        0,
        an_image("spectrum", grey, step=3, caption="a\nb"),
        an_image("field", photo, step=4, content_type="text/html"),
        an_image("nothing", grey, step=None),
    )
    assert send(admin, run_id, batch)["rejected"] == []

    field, spectrum, nothing = listed(admin, run_id)

    assert {
        key: spectrum[key]
        for key in ("name", "caption", "step", "attempt", "content_type", "width", "height")
    } == {
        "name": "spectrum",
        "caption": "a b",
        "step": 3,
        "attempt": 1,
        "content_type": "image/png",
        "width": 5,
        "height": 3,
    }
    assert (spectrum["size_bytes"], spectrum["digest"]) == (len(grey), hashlib.sha256(grey).hexdigest())
    assert datetime.fromisoformat(spectrum["at"]) == datetime.fromtimestamp(1_795_176_000, UTC)
    assert (field["content_type"], nothing["step"]) == ("image/jpeg", None)
    for each, data in ((spectrum, grey), (field, photo), (nothing, grey)):
        answer = admin.send("GET", f"/runs/{run_id}/images/{each['id']}")
        assert (answer.status_code, answer.content) == (200, data)
        assert answer.headers["content-type"] == each["content_type"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert "private" in answer.headers["cache-control"]
    assert [each["name"] for each in listed(admin, run_id, name="field")] == ["field"]


def test_of_another_run_there_is_no_image(admin: Caller) -> None:
    run_id, _ = opened(admin)
    second, _ = opened(admin, "second")
    send(admin, run_id, others(0, an_image()))
    (image,) = listed(admin, run_id)

    for where in (f"{second}/images/{image['id']}", f"{run_id}/images/{uuid4()}"):
        assert admin.send("GET", f"/runs/{where}").status_code == 404
    assert listed(admin, second) == []


def test_an_image_that_is_none_is_rejected_alone(admin: Caller, sql: psycopg.Connection[Any]) -> None:
    run_id, _ = opened(admin)
    bad = {
        "not_an_image": [
            an_image(data=b"<html><script>alert(1)</script>"),
            an_image(data=a_png() + b"<script>"),
            an_image(data=b""),
            {key: value for key, value in an_image().items() if key != "data"},
        ],
        "image_too_large": [
            an_image(data=b"\0" * (MOST_BYTES + 1)),
            an_image(data=a_png_that_says(2**20, 17)),
        ],
        "bad_record": [
            an_image("", a_png()),
            an_image("two\nlines"),
            an_image(["spectrum"]),
            an_image(step=2**70),
            an_image(step=1.5),
            an_image(step=True),
            an_image(time="now"),
            an_image() | {"data": "no base64!"},
            an_image() | {"data": "ü"},
            an_image() | {"data": [1]},
            an_image() | {"data": 7},
        ],
    }
    codes = [code for code, records in bad.items() for _ in records]
    records = [record for each in bad.values() for record in each]

    answer = send(admin, run_id, others(0, *records, an_image("good", caption="c" * 3_000)))

    assert [each["code"] for each in answer["rejected"]] == codes
    (kept,) = listed(admin, run_id)
    assert (kept["name"], len(kept["caption"])) == ("good", 2_000)
    assert books(sql) == (len(codes) + 1, 1, len(codes), 0, len(codes) + 1)


def test_a_batch_that_is_sent_again_or_cut_anew_doubles_none(admin: Caller) -> None:
    run_id, _ = opened(admin)
    batch = others(0, an_image("a"), an_image("b"))
    send(admin, run_id, batch)
    before = listed(admin, run_id)

    send(admin, run_id, batch)
    send(admin, run_id, others(0, an_image("a"), an_image("b"), an_image("c")))

    after = listed(admin, run_id)
    assert sorted(each["name"] for each in after) == ["a", "b", "c"]
    assert {each["id"] for each in before} == {each["id"] for each in after if each["name"] != "c"}


def test_a_run_keeps_fifty_whoever_logs_them_and_goes_on_with_its_points(admin: Caller) -> None:
    run_id, _ = opened(admin)
    first = others(0, *(an_image(str(at)) for at in range(MOST_IMAGES - 1)))
    assert send(admin, run_id, first)["rejected"] == []
    attached = {**others(0, an_image("last"), an_image("beyond")), "role": "attach"}

    answer = send(admin, run_id, attached, stream=OTHER_STREAM)
    again = send(admin, run_id, attached, stream=OTHER_STREAM)

    assert answer["rejected"] == again["rejected"] == [{"idx": 1, "code": "too_many_images"}]
    assert send(admin, run_id, points(MOST_IMAGES - 1, loss=[1.0]))["rejected"] == []
    assert len(listed(admin, run_id)) == MOST_IMAGES


def test_a_run_token_logs_images_and_sees_its_runs_own(admin: Caller) -> None:
    run_id, _ = opened(admin)
    caller = admin.as_role("run", "burgers", run=run_id)

    send(caller, run_id, others(0, an_image()))

    assert len(listed(admin, run_id)) == 1


def test_what_was_logged_is_owed_to_sinks_once_a_batch(admin: Caller, sql: psycopg.Connection[Any]) -> None:
    run_id, _ = opened(admin)
    send(admin, run_id, others(0, an_image("a", step=7), an_image("b", step=5)))
    send(admin, run_id, others(2, an_image("c", step=None), an_image("d", step=9)))
    send(admin, run_id, others(4, an_image("e", b"no image")))

    owed = sql.execute("SELECT order_key, payload FROM outbox_message WHERE topic = 'run.images' ORDER BY id")
    assert owed.fetchall() == [
        (f"run:{run_id}", {"run": run_id, "first_step": 5}),
        (f"run:{run_id}", {"run": run_id, "first_step": None}),
    ]
