"""Run by Alembic: migrations are applied on the connection that `database.py` gives, or on DATABASE_URL by hand."""

import os

from alembic import context
from sqlalchemy import Connection, create_engine

from leaderboard.store.tables import Base


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with create_engine(os.environ["DATABASE_URL"]).begin() as opened:
        run(opened)
