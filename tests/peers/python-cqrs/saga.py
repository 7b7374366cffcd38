"""saga.py postgres context|rows AT_ONCE SAGAS: the saga of the bench paths `saga.postgres` and `saga.postgres.rows` by the mediator of
python-cqrs, over its SQLAlchemy storage, with a run of its own for each saga, which is what commits at its checkpoints. A step that
writes a row does so in a session of its own, since it is not given that of the storage. Prints one line of JSON."""

import asyncio
import dataclasses
import json
import sys
import time
import uuid

import di
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

import cqrs
import database
import members
from cqrs.bootstrap import saga as bootstrap
from cqrs.saga import models
from cqrs.saga.storage import sqlalchemy as storage

KIND, WORK, AT_ONCE, SAGAS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
NAME = f"peer_python_{uuid.uuid4().hex}"
BOOK = sqlalchemy.text("INSERT INTO bookings (number, step) VALUES (:number, :step)")
UNBOOK = sqlalchemy.text("DELETE FROM bookings WHERE number = :number AND step = :step")
TABLE = "CREATE TABLE bookings (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number BIGINT NOT NULL, step TEXT NOT NULL)"
NEXT = "SELECT CAST(pg_snapshot_xmax(pg_current_snapshot())::text AS BIGINT)"

if KIND != "postgres" or WORK not in ("context", "rows"):
    sys.exit(f"there is no {KIND!r} {WORK!r}: postgres context, postgres rows")


@dataclasses.dataclass
class Order(models.SagaContext):
    number: int
    reserved: bool = False
    paid: str | None = None
    shipped: bool = False


def sessions() -> async_sessionmaker[AsyncSession]:
    """A connection for each saga at once, and one for its step."""
    url = sqlalchemy.make_url(database.server("POSTGRES")).set(drivername="postgresql+asyncpg", query={})
    settings = {"server_settings": {"search_path": NAME}}
    engine = create_async_engine(url, connect_args=settings, pool_size=2 * AT_ONCE, max_overflow=0)
    return async_sessionmaker(engine, expire_on_commit=False)


SESSIONS = sessions()


async def write(statement: sqlalchemy.TextClause, number: int, step: str) -> None:
    if WORK == "rows":
        async with SESSIONS() as session:
            await session.execute(statement, {"number": number, "step": step})
            await session.commit()


class Reserve(cqrs.SagaStepHandler[Order, None]):
    async def act(self, context: Order):
        await write(BOOK, context.number, "reserve")
        context.reserved = True
        return self._generate_step_result(None)

    async def compensate(self, context: Order) -> None:
        await write(UNBOOK, context.number, "reserve")


class Charge(cqrs.SagaStepHandler[Order, None]):
    async def act(self, context: Order):
        await write(BOOK, context.number, "charge")
        context.paid = "by card"
        return self._generate_step_result(None)

    async def compensate(self, context: Order) -> None:
        await write(UNBOOK, context.number, "charge")


class Ship(cqrs.SagaStepHandler[Order, None]):
    async def act(self, context: Order):
        await write(BOOK, context.number, "ship")
        context.shipped = True
        return self._generate_step_result(None)

    async def compensate(self, context: Order) -> None:
        await write(UNBOOK, context.number, "ship")


class Booking(cqrs.Saga[Order]):
    steps = [Reserve, Charge, Ship]


async def execute_all(mediator: cqrs.SagaMediator, sagas: int) -> None:
    async def some() -> None:
        for _ in range(sagas // AT_ONCE):
            context = Order(number=42)
            async for _ in mediator.execute(context):
                pass
            if not context.shipped:
                sys.exit("it was not shipped")

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def number() -> int:
    """Of the next transaction that writes."""
    async with SESSIONS() as session:
        return (await session.execute(sqlalchemy.text(NEXT))).scalar_one()


async def main() -> None:
    await database.make(KIND, NAME)
    async with SESSIONS.kw["bind"].begin() as connection:
        await connection.run_sync(storage.Base.metadata.create_all)
        await connection.execute(sqlalchemy.text(TABLE))
    mediator = bootstrap.bootstrap(
        di_container=di.Container(),
        sagas_mapper=lambda mapper: mapper.bind(Order, Booking),
        saga_storage=storage.SqlAlchemySagaStorage(SESSIONS),
    )
    await execute_all(mediator, SAGAS // 10)
    first, begun = await number(), time.perf_counter()
    await execute_all(mediator, SAGAS)
    seconds, last = time.perf_counter() - begun, await number()
    await SESSIONS.kw["bind"].dispose()
    await database.drop(KIND, NAME)
    sagas = SAGAS // AT_ONCE * AT_ONCE
    told = {"peer": "python-cqrs", "store": KIND, "sagas": sagas, "at_once": AT_ONCE, "seconds": seconds}
    print(json.dumps({**told, "per_second": sagas / seconds, "commits": (last - first) / sagas}))


members.run(main())
