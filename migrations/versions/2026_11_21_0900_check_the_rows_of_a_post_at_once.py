"""Check the rows of a post at once: their parent is looked up once a statement, not once a row.

A post writes hundreds of values, checks and leaderboard rows that all belong to one evaluation, and a foreign key looks
that one up for each of them, which was half of what Postgres had to do. Triggers on the whole statement give the same
guarantee, in both directions and with the same locks.

The functions replace those of their name: restoring an older backup takes all tables away, with their triggers, and
leaves the functions.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

OF_EVALUATION = ("project_id", "evaluation_id"), "evaluation", ("project_id", "id")
OF_ASSESSMENT = (
    ("project_id", "evaluation_id", "assessment"),
    "assessment",
    ("project_id", "evaluation_id", "number"),
)
PARENTS = {
    "evaluation_value": OF_EVALUATION,
    "leaderboard_row": OF_EVALUATION,
    "check_result": OF_ASSESSMENT,
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("SET LOCAL statement_timeout = '600s'")
    # Together, and given up before Postgres looks for a deadlock (1 s), of which a request could be the victim.
    op.execute("SET LOCAL lock_timeout = '300ms'")
    op.execute("LOCK TABLE evaluation, evaluation_value, assessment, check_result, leaderboard_row")
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        """
        CREATE OR REPLACE FUNCTION keys_stay() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE foreign_key_violation USING MESSAGE = format('the keys of %s are never changed', TG_TABLE_NAME);
        END $$
        """
    )
    for child, (columns, parent, keys) in PARENTS.items():
        op.drop_constraint(f"fk_{child}_{parent}", child, type_="foreignkey")
        _look_for_the_parent(child, columns, parent, keys)
        _look_for_children(child, columns, parent, keys)
        _keep_keys(child, columns)
    for _, parent, keys in (OF_EVALUATION, OF_ASSESSMENT):
        _keep_keys(parent, keys)


def _look_for_the_parent(child: str, columns: tuple[str, ...], parent: str, keys: tuple[str, ...]) -> None:
    matches = " AND ".join(
        f"p.{key} = row_of_one.{column}" for key, column in zip(keys, columns, strict=True)
    )
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION {child}_has_parent() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            row_of_one record;
        BEGIN
            FOR row_of_one IN SELECT DISTINCT {", ".join(columns)} FROM new_rows LOOP
                -- Nobody deletes it before this transaction ends.
                PERFORM FROM {parent} p WHERE {matches} FOR KEY SHARE;
                IF NOT FOUND THEN
                    RAISE foreign_key_violation USING
                        MESSAGE = format('{child} has rows of no {parent}: %s', row_of_one),
                        TABLE = '{child}', CONSTRAINT = '{child}_has_parent';
                END IF;
            END LOOP;
            RETURN NULL;
        END $$
        """  # noqa: S608  names from above
    )
    op.execute(
        f"CREATE TRIGGER {child}_has_parent AFTER INSERT ON {child} REFERENCING NEW TABLE AS new_rows "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {child}_has_parent('{parent}')"
    )


def _look_for_children(child: str, columns: tuple[str, ...], parent: str, keys: tuple[str, ...]) -> None:
    matches = " AND ".join(f"c.{column} = o.{key}" for key, column in zip(keys, columns, strict=True))
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION {parent}_leaves_no_{child}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM old_rows o JOIN {child} c ON {matches}) THEN
                RAISE foreign_key_violation USING
                    MESSAGE = '{child} still has rows of this {parent}',
                    TABLE = '{child}', CONSTRAINT = '{child}_has_parent';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        f"CREATE TRIGGER {parent}_leaves_no_{child} AFTER DELETE ON {parent} REFERENCING OLD TABLE AS old_rows "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {parent}_leaves_no_{child}()"
    )


def _keep_keys(table: str, columns: tuple[str, ...]) -> None:
    op.execute(
        f"CREATE TRIGGER {table}_keys_stay BEFORE UPDATE OF {', '.join(columns)} ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION keys_stay()"
    )
