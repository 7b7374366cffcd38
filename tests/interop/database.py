"""Outbox and inbox of python-cqrs in a database of their own, by the URLs that the tests have."""

import os
import sys

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from cqrs.inbox import sqlalchemy as inbox
from cqrs.outbox import sqlalchemy as outbox


def server(name: str) -> str:
    variable = f"CQRS_TEST_{name}_URL"
    if variable not in os.environ:
        sys.exit(f'{variable} is not set: run tests/services up && eval "$(tests/services env)"')
    return os.environ[variable]


def engine(kind: str, name: str | None = None) -> AsyncEngine:
    """With the schema, or the database, of that name."""
    if kind == "postgres":
        url = sqlalchemy.make_url(server("POSTGRES")).set(drivername="postgresql+asyncpg", query={})
        return create_async_engine(url, connect_args={"server_settings": {"search_path": name}} if name else {})
    if kind == "mysql":
        url = sqlalchemy.make_url(server("MYSQL")).set(drivername="mysql+asyncmy", query={})
        return create_async_engine(url.set(database=name) if name else url)
    sys.exit(f"there is no {kind!r}: postgres or mysql")


async def execute(kind: str, statement: str) -> None:
    of = engine(kind)
    async with of.begin() as connection:
        await connection.execute(sqlalchemy.text(statement))
    await of.dispose()


async def make(kind: str, name: str) -> None:
    await execute(kind, f"CREATE {'SCHEMA' if kind == 'postgres' else 'DATABASE'} {name}")


async def drop(kind: str, name: str) -> None:
    await execute(kind, f"DROP SCHEMA {name} CASCADE" if kind == "postgres" else f"DROP DATABASE {name}")


async def tables(of: AsyncEngine) -> None:
    """Outbox and inbox, as their own models make them."""
    async with of.begin() as connection:
        for base in [outbox.Base, inbox.Base]:
            await connection.run_sync(base.metadata.create_all)
