"""Champions, seed sets and the rows of leaderboards."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Uuid,
    text,
)

from app.db.columns import at_column, json_column, metadata, one_of, project_column, text_column

baseline = Table(
    "baseline",
    metadata,
    project_column(),
    Column("suite_id", Uuid, nullable=False),
    text_column("stage"),
    # Moves by one with every event; compare-and-swap on it is what makes promotion safe.
    Column("version", Integer, nullable=False),
    Column("evaluation_id", Uuid),
    PrimaryKeyConstraint("project_id", "suite_id", "stage"),
    ForeignKeyConstraint(["project_id", "suite_id"], ["suite.project_id", "suite.id"]),
    ForeignKeyConstraint(["project_id", "evaluation_id"], ["evaluation.project_id", "evaluation.id"]),
)

baseline_event = Table(
    "baseline_event",
    metadata,
    project_column(),
    Column("suite_id", Uuid, nullable=False),
    text_column("stage"),
    # The pointer's version after the event.
    Column("version", Integer, nullable=False),
    text_column("kind"),
    Column("evaluation_id", Uuid),
    Column("previous_evaluation_id", Uuid),
    # For rollback and invalidate: the event whose champion was taken back; None when the seat fell vacant.
    Column("to_version", Integer),
    text_column("actor"),
    text_column("reason", nullable=True),
    Column("policy_version", Integer),
    text_column("gate", nullable=True),
    # The verdict's sentence and the limits not met, as decided at that moment.
    json_column("detail"),
    at_column("created_at"),
    PrimaryKeyConstraint("project_id", "suite_id", "stage", "version"),
    ForeignKeyConstraint(
        ["project_id", "suite_id", "stage"], ["baseline.project_id", "baseline.suite_id", "baseline.stage"]
    ),
    one_of("kind", "kind", "promote", "bootstrap", "override", "rollback", "invalidate"),
    Index(None, "project_id", "evaluation_id"),
)

seed_set = Table(
    "seed_set",
    metadata,
    project_column(),
    Column("suite_id", Uuid, nullable=False),
    text_column("stage"),
    # Empty for the set of all recipes that champions of this suite and stage were made by.
    Column("recipe", LargeBinary, nullable=False),
    # Moves by one when a run joins or leaves the set: a first candidate, a later one, validity, another config.
    Column("version", BigInteger, nullable=False),
    # Every evaluation of the set has been judged by this version; kept for recipes only.
    Column("judged_version", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("project_id", "suite_id", "stage", "recipe"),
    ForeignKeyConstraint(["project_id", "suite_id"], ["suite.project_id", "suite.id"]),
    Index(
        "ix_seed_set_to_judge",
        "project_id",
        "suite_id",
        "stage",
        "recipe",
        postgresql_where=text("judged_version < version AND recipe <> ''"),
    ),
)

leaderboard_row = Table(
    "leaderboard_row",
    metadata,
    project_column(),
    Column("suite_id", Uuid, nullable=False),
    text_column("stage"),
    Column("evaluation_id", Uuid, nullable=False),
    text_column("metric"),
    text_column("group_name"),
    Column("suite_version", Integer, nullable=False),
    # Digest of what the number means (dataset, split, protocol, metric, group): equal ones rank together.
    Column("cell", LargeBinary, nullable=False),
    Column("run_id", Uuid, nullable=False),
    Column("recipe", LargeBinary, nullable=False),
    Column("value", Double, nullable=False),
    text_column("bound"),
    Column("n", BigInteger),
    # 0 exact and finite, 1 only a bound, 2 not finite; then ascending is best first, whatever the direction.
    Column("sort_class", SmallInteger, nullable=False),
    Column("sort_key", Double, nullable=False),
    Column("is_latest", Boolean, nullable=False),
    # Whether run and evaluation are valid and the run is not archived.
    Column("eligible", Boolean, nullable=False),
    PrimaryKeyConstraint("project_id", "evaluation_id", "metric", "group_name"),
    # Its evaluation is there: a trigger sees to it, as in `evaluation_value`.
    Index(
        "ix_leaderboard_row_by_run",
        "project_id",
        "suite_id",
        "stage",
        "cell",
        "sort_class",
        "sort_key",
        "evaluation_id",
        postgresql_where=text("is_latest AND eligible"),
    ),
    # Each row is in one of these three, since a post writes hundreds; whoever asks for more merges them.
    Index(
        "ix_leaderboard_row_overtaken",
        "project_id",
        "suite_id",
        "stage",
        "cell",
        "sort_class",
        "sort_key",
        "evaluation_id",
        postgresql_where=text("eligible AND NOT is_latest"),
    ),
    Index(
        "ix_leaderboard_row_ineligible",
        "project_id",
        "suite_id",
        "stage",
        "cell",
        "sort_class",
        "sort_key",
        "evaluation_id",
        postgresql_where=text("NOT eligible"),
    ),
)
