"""Know which seeds a verdict was judged by: versions of seed sets, and the runs of a recipe by index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '60s'")
    # Together, and given up before Postgres looks for a deadlock (1 s), of which a request could be the victim.
    op.execute("SET LOCAL lock_timeout = '300ms'")
    op.execute("LOCK TABLE run, evaluation")
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "seed_set",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("suite_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("recipe", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("judged_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "suite_id"], ["suite.project_id", "suite.id"], name="fk_seed_set_suite"
        ),
        sa.PrimaryKeyConstraint("project_id", "suite_id", "stage", "recipe", name="pk_seed_set"),
    )
    op.create_index(
        "ix_seed_set_to_judge",
        "seed_set",
        ["project_id", "suite_id", "stage", "recipe"],
        postgresql_where=sa.text("judged_version < version AND recipe <> ''"),
    )
    for column in ("seeds_version", "rivals_version"):
        op.add_column(
            "evaluation", sa.Column(column, sa.BigInteger(), server_default=sa.text("0"), nullable=False)
        )
    op.create_index(
        "ix_evaluation_to_judge_by_more_seeds",
        "evaluation",
        ["project_id", "suite_id", "stage", "rivals_version"],
        postgresql_where=sa.text("is_latest"),
    )
    op.create_index("ix_run_project_id_recipe", "run", ["project_id", "recipe"])
