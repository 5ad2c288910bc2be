"""The first tables: boards, submissions, verifications, scorers, scores, tokens, uploads."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

HASH, TIME, NAME = sa.String(64), sa.String(20), sa.String(300)


def upgrade() -> None:
    op.create_table(
        "boards",
        sa.Column("key", sa.String(120), primary_key=True),
        sa.Column("task", sa.JSON, nullable=False),
    )
    op.create_table(
        "submissions",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", HASH, nullable=False, unique=True),
        sa.Column("board", sa.String(120), sa.ForeignKey("boards.key"), nullable=False, index=True),
        sa.Column("owner", NAME, nullable=False, index=True),
        sa.Column("received", TIME, nullable=False),
        sa.Column("card", sa.JSON, nullable=False),
        sa.Column("files", sa.JSON, nullable=False),
        sa.Column("withdrawn", TIME),
        sa.Column("reason", sa.Text),
    )
    op.create_table(
        "verifications",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("submission", sa.Integer, sa.ForeignKey("submissions.number"), nullable=False, index=True),
        sa.Column("at", TIME, nullable=False),
        sa.Column("scorer", NAME, nullable=False),
        sa.Column("tier", sa.String(2)),
        sa.Column("report", sa.JSON, nullable=False),
    )
    op.create_table(
        "scorers",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("name", NAME, nullable=False, unique=True),
    )
    op.create_table(
        "scores",
        sa.Column("submission", sa.Integer, sa.ForeignKey("submissions.number"), primary_key=True),
        sa.Column("scorer", sa.Integer, sa.ForeignKey("scorers.number"), primary_key=True),
        sa.Column("seed", sa.BigInteger, primary_key=True),
        sa.Column("question", sa.Integer, primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", NAME, nullable=False),
        sa.Column("sha256", HASH, nullable=False, unique=True),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("revoked", TIME),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("owner", NAME, nullable=False, index=True),
        sa.Column("created", TIME, nullable=False),
    )


def downgrade() -> None:
    for name in ("uploads", "tokens", "scores", "scorers", "verifications", "submissions", "boards"):
        op.drop_table(name)
