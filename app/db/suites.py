"""Suites and their versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, Select, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.fixed import Fixed
from app.db.remembered import Remembered
from app.db.tables import suite, suite_version
from app.domain.suites import CellDigests, Suite, suite_from_document


def _size(read: tuple[Suite, CellDigests]) -> int:
    suite, digests = read
    return 10 * (1 + len(suite.groups) + len(suite.metrics)) + digests.most


# In cells, of which one takes about a hundred bytes; a group or a metric takes ten times as much.
_parsed: Remembered[tuple[Any, ...], tuple[Suite, CellDigests]] = Remembered(most=100_000, size=_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRow:
    """One version of a suite.

    Args:
        document: Canonical, as `domain.suites.suite_to_document` writes it.
        frozen_weights: Shares of n by group; None before the first evaluation.
        weights_final: Whether they are the first champion's, not only the first evaluation's.
        created_at, created_by: Of this version.
    """

    project_id: UUID
    id: UUID
    key: str
    version: int
    document: Mapping[str, Any]
    frozen_weights: Mapping[str, float] | None
    weights_final: bool
    created_at: datetime
    created_by: str

    def to_domain(self) -> Suite:
        """What the rules read, with the weights as they are frozen now."""
        suite, _ = self._read()
        return replace(suite, frozen_weights=dict(self.frozen_weights or {}))

    def digests(self) -> CellDigests:
        """Those of the version's cells, into which no frozen weights go."""
        _, digests = self._read()
        return digests

    def _read(self) -> tuple[Suite, CellDigests]:
        # A version that was taken back and written again was made at another time.
        content = (self.project_id, self.id, self.key, self.version, self.created_at, self.created_by)
        read = _parsed.get(content)
        if read is None:
            suite = suite_from_document(self.key, self.version, self.document)
            read = suite, CellDigests(suite)
            _parsed.put(content, read)
        return read


def insert_suite(session: Session, *, project_id: UUID, suite_id: UUID, key: str, now: datetime) -> bool:
    """Whether a suite, still without a version, was stored; False when the key is taken, after a wait."""
    statement = insert(suite).values(
        project_id=project_id, id=suite_id, key=key, version=0, weights_final=False, created_at=now
    )
    statement = statement.on_conflict_do_nothing(index_elements=["project_id", "key"])
    return session.execute(statement.returning(suite.c.id)).first() is not None


def insert_version(
    session: Session,
    *,
    project_id: UUID,
    suite_id: UUID,
    version: int,
    document: Mapping[str, Any],
    now: datetime,
    created_by: str,
) -> None:
    """Add the newest version of a suite that is locked or was inserted in this transaction."""
    session.execute(
        insert(suite_version).values(
            project_id=project_id,
            suite_id=suite_id,
            version=version,
            document=dict(document),
            created_at=now,
            created_by=created_by,
        )
    )
    session.execute(
        update(suite).where(suite.c.project_id == project_id, suite.c.id == suite_id).values(version=version)
    )


def lock(session: Session, *, project_id: UUID, key: str) -> None:
    """Make other writers of the suite wait until the transaction ends."""
    session.execute(
        select(suite.c.id)
        .where(suite.c.project_id == project_id, suite.c.key == key)
        .with_for_update(key_share=True)
    ).one()


def newest(session: Session, *, project_id: UUID, key: str) -> SuiteRow | None:
    return _one(_NEWEST.first(session, project_id=project_id, key=key))


def at(session: Session, *, project_id: UUID, suite_id: UUID, version: int) -> SuiteRow | None:
    return _one(_AT.first(session, project_id=project_id, suite_id=suite_id, version=version))


def load_suite(session: Session, project_id: UUID, suite_id: UUID, version: int) -> Suite:
    """That version as the rules read it, with the weights as they are frozen now.

    Raises:
        LookupError: There is no such version; evaluations refer to existing ones only.
    """
    found = at(session, project_id=project_id, suite_id=suite_id, version=version)
    if found is None:
        raise LookupError(f"suite {suite_id} has no version {version}")
    return found.to_domain()


def page(session: Session, *, project_id: UUID, limit: int, after: str | None = None) -> list[SuiteRow]:
    """The newest versions by key; `after` is the key of the last suite of the page before."""
    query = _select_newest(project_id).order_by(suite.c.key.collate("C")).limit(limit)
    if after is not None:
        query = query.where(suite.c.key.collate("C") > after)
    return [SuiteRow(**row) for row in session.execute(query).mappings()]


def every_newest(session: Session, *, project_id: UUID) -> list[SuiteRow]:
    query = _select_newest(project_id).order_by(suite.c.key.collate("C"))
    return [SuiteRow(**row) for row in session.execute(query).mappings()]


def _select(project_id: UUID | BindParameter[UUID]) -> Select[Any]:
    versions = (suite_version.c.project_id == suite.c.project_id) & (suite_version.c.suite_id == suite.c.id)
    return (
        select(
            suite.c.project_id,
            suite.c.id,
            suite.c.key,
            suite_version.c.version,
            suite_version.c.document,
            suite.c.frozen_weights,
            suite.c.weights_final,
            suite_version.c.created_at,
            suite_version.c.created_by,
        )
        .select_from(suite)
        .join(suite_version, versions)
        .where(suite.c.project_id == project_id)
    )


def _select_newest(project_id: UUID | BindParameter[UUID]) -> Select[Any]:
    return _select(project_id).where(suite_version.c.version == suite.c.version)


_PROJECT: BindParameter[UUID] = bindparam("project_id")
_NEWEST = Fixed(_select_newest(_PROJECT).where(suite.c.key == bindparam("key")))
_AT = Fixed(
    _select(_PROJECT).where(
        suite.c.id == bindparam("suite_id"), suite_version.c.version == bindparam("version")
    )
)


def _one(found: Mapping[str, Any] | None) -> SuiteRow | None:
    return None if found is None else SuiteRow(**found)
