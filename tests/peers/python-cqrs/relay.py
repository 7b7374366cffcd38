"""relay.py postgres|mysql ROWS: the loop that python-cqrs documents for its outbox, at the work of the bench path
`relay.postgres.kafka`: rows stored before are published to Kafka, about 200 bytes each, of 100 keys. It neither sleeps nor
sends the key. Prints one line of JSON."""

import json
import sys
import time
import uuid

import dataclasses
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy.ext.asyncio import async_sessionmaker

import cqrs
import database
import members

KEYS, STORED_AT_ONCE = 100, 1000
KIND, ROWS = sys.argv[1], int(sys.argv[2])
NAME = f"peer_python_{uuid.uuid4().hex}"


@dataclasses.dataclass
class Payload:
    key: int


class Measured(cqrs.NotificationEvent[Payload]):
    pass


cqrs.OutboxedEventMap.register("measured", Measured)


async def relay(sessions) -> float:
    """Seconds from its start until the outbox holds nothing that is to be sent."""
    begun, left = time.perf_counter(), ROWS
    async with members.broker(database.server("KAFKA")) as broker, sessions() as session:
        repository = cqrs.SqlAlchemyOutboxedEventRepository(session)
        producer = cqrs.EventProducer(broker, repository)
        async for batch in producer.event_batch_generator():
            for event in batch:
                await producer.send_message(event)
            await repository.commit()
            left -= len(batch)
            if left == 0:
                return time.perf_counter() - begun
            if not batch:
                sys.exit(f"{left} rows were not sent")
    raise AssertionError("the batches have no end")


async def main() -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=members.address(database.server("KAFKA")))
    await admin.start()
    await admin.create_topics([NewTopic(NAME, num_partitions=8, replication_factor=1)])
    await database.make(KIND, NAME)
    engine = database.engine(KIND, NAME)
    await database.tables(engine)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    for first in range(0, ROWS, STORED_AT_ONCE):
        async with sessions() as session:
            repository = cqrs.SqlAlchemyOutboxedEventRepository(session)
            for number in range(first, min(first + STORED_AT_ONCE, ROWS)):
                repository.add(Measured(event_name="measured", topic=NAME, payload=Payload(number % KEYS)))
            await repository.commit()
    seconds = await relay(sessions)
    await engine.dispose()
    await database.drop(KIND, NAME)
    await admin.delete_topics([NAME])
    await admin.close()
    print(json.dumps({"peer": "python-cqrs", "store": KIND, "messages": ROWS, "seconds": seconds, "per_second": ROWS / seconds}))


members.run(main())
