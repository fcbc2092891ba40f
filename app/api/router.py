"""One way to make a router: strict bodies, documented problems."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from app.api.bodies import StrictRoute
from app.api.problems import DOCUMENTED


def a_router(tag: str) -> APIRouter:
    responses: dict[int | str, dict[str, Any]] = dict(DOCUMENTED)
    return APIRouter(tags=[tag], route_class=StrictRoute, responses=responses)
