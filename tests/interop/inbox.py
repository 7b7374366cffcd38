"""The inbox of python-cqrs, beside an outbox that outbox.py has made:

inbox.py STORE NAME add TOPIC IDS  stores events of members with these ids, such as 1,2,3; prints the events' ids
inbox.py STORE NAME work           the documented loop, until nothing is left; prints the ids of what was handled
inbox.py STORE NAME fail           the same loop with a handler that fails
"""

import json
import sys

import di
from sqlalchemy.ext.asyncio import async_sessionmaker

import cqrs
import database
import members
from cqrs.bootstrap import events as bootstrap

STORE, NAME, WHAT, *ARGUMENTS = sys.argv[1:]

cqrs.InboxMessageMap.register(members.MEMBER_JOINED, members.Joined)


class Handle(cqrs.EventHandler[members.Joined]):
    async def handle(self, event: members.Joined) -> None:
        if WHAT == "fail":
            raise ValueError("it cannot be handled")
        print(json.dumps(str(event.event_id)))


async def add(session, topic: str, ids: str) -> None:
    events = [members.joined(topic, int(member_id)) for member_id in ids.split(",")]
    repository = cqrs.SqlAlchemyInboxRepository(session)
    await repository.add([(str(event.event_id), event) for event in events])
    await repository.commit()
    for event in events:
        print(json.dumps(str(event.event_id)))


async def work(session) -> None:
    mediator = bootstrap.bootstrap(
        di_container=di.Container(), events_mapper=lambda events: events.bind(members.Joined, Handle)
    )
    repository = cqrs.SqlAlchemyInboxRepository(session)
    processor = cqrs.InboxProcessor(repository, cqrs.InboxMessageMap._singleton(), event_mediator=mediator)
    async for batch in processor.batch_generator():
        for row in batch:
            await processor.process(row)
        await repository.commit()
        if not batch:
            return


async def main() -> None:
    engine = database.engine(STORE, NAME)
    async with async_sessionmaker(engine)() as session:
        if WHAT == "add":
            await add(session, *ARGUMENTS)
        elif WHAT in ("work", "fail"):
            await work(session)
        else:
            sys.exit(__doc__)
    await engine.dispose()


members.run(main())
