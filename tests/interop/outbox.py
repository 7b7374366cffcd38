"""The outbox of python-cqrs, in a schema (postgres) or database (mysql) of a name:

outbox.py STORE NAME make | drop          the database, or the tables in a schema that is there
outbox.py STORE NAME add TOPIC IDS [zlib] stores events of members with these ids, such as 1,2,3; prints the events' ids
outbox.py STORE NAME relay BROKER         the documented loop, until nothing is to be sent
outbox.py STORE NAME fail [zlib]          the same loop with a broker that is not there
"""

import json
import sys

from sqlalchemy.ext.asyncio import async_sessionmaker

import cqrs
import database
import members
from cqrs.message_brokers.protocol import MessageBroker

STORE, NAME, WHAT, *ARGUMENTS = sys.argv[1:]

cqrs.OutboxedEventMap.register(members.MEMBER_JOINED, members.Joined)


class Absent(MessageBroker):
    async def send_message(self, message) -> None:
        raise ConnectionError("there is no broker")


def repository_of(session, compressed: str):
    return cqrs.SqlAlchemyOutboxedEventRepository(session, cqrs.ZlibCompressor() if compressed else None)


async def add(session, topic: str, ids: str, compressed: str = "") -> None:
    repository = repository_of(session, compressed)
    for event in [members.joined(topic, int(member_id)) for member_id in ids.split(",")]:
        repository.add(event)
        print(json.dumps(str(event.event_id)))
    await repository.commit()


async def relay(session, broker: MessageBroker, compressed: str = "") -> None:
    repository = repository_of(session, compressed)
    producer = cqrs.EventProducer(broker, repository)
    async for batch in producer.event_batch_generator():
        for event in batch:
            await producer.send_message(event)
        await repository.commit()
        if not batch:
            return


async def main() -> None:
    if STORE == "mysql" and WHAT == "make":
        await database.make(STORE, NAME)
    engine = database.engine(STORE, NAME)
    async with async_sessionmaker(engine)() as session:
        if WHAT == "make":
            await database.tables(engine)
        elif WHAT == "add":
            await add(session, *ARGUMENTS)
        elif WHAT == "relay":
            async with members.broker(ARGUMENTS[0]) as broker:
                await relay(session, broker)
        elif WHAT == "fail":
            await relay(session, Absent(), *ARGUMENTS)
        elif WHAT != "drop":
            sys.exit(__doc__)
    await engine.dispose()
    if WHAT == "drop":
        await database.drop(STORE, NAME)


members.run(main())
