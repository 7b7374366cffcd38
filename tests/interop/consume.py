"""consume.py BROKER TOPIC GROUP KIND COUNT: reads so many messages with the deserializer of python-cqrs into events of a kind,
`pydantic` or `dataclass`, and sends them to its mediator, whose handler raises a domain event. Prints what each of the two
handlers was given, one JSON a line. What was handled is committed to Kafka, or acknowledged."""

import asyncio
import datetime
import json
import sys

import aio_pika
import aiokafka
import di
import pydantic

import cqrs
import members
from cqrs.adapters import amqp
from cqrs.bootstrap import events as bootstrap
from cqrs.deserializers import JsonDeserializer

URL, TOPIC, GROUP, KIND, COUNT = *sys.argv[1:5], int(sys.argv[5])
EVENT = {"pydantic": members.Joined, "dataclass": members.DCJoined}[KIND]


def show(**said) -> None:
    print(json.dumps(said), flush=True)


class Noted(cqrs.DomainEvent, frozen=True):
    member_id: int


class Note(cqrs.EventHandler[EVENT]):
    def __init__(self) -> None:
        self._events: list[cqrs.IEvent] = []

    @property
    def events(self):
        return self._events

    async def handle(self, event) -> None:
        payload = event.payload
        if isinstance(payload, pydantic.BaseModel):
            payload = payload.model_dump(mode="json")
        time = event.event_timestamp.astimezone(datetime.timezone.utc).isoformat()
        show(handler="note", id=str(event.event_id), name=event.event_name, topic=event.topic, time=time, payload=payload)
        self._events.append(Noted(member_id=payload["member_id"]))


class Count(cqrs.EventHandler[Noted]):
    async def handle(self, event: Noted) -> None:
        show(handler="count", member_id=event.member_id)


def bind(events: cqrs.EventMap) -> None:
    events.bind(EVENT, Note)
    events.bind(Noted, Count)


async def consume_kafka(handle) -> None:
    consumer = aiokafka.AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=members.address(URL),
        group_id=GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    for _ in range(COUNT):
        message = await consumer.getone()
        await handle(message.value)
        await consumer.commit({aiokafka.TopicPartition(message.topic, message.partition): message.offset + 1})
    await consumer.stop()


async def consume_amqp(handle) -> None:
    """By the consumer that comes with the library, which takes what is in the queue of the group."""
    left, done = COUNT, asyncio.Event()

    async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        nonlocal left
        await handle(message.body)
        await message.ack()
        left -= 1
        if left == 0:
            done.set()

    async with members.channels(URL) as channels:
        consuming = asyncio.create_task(amqp.AMQPConsumer(channels).consume(take, GROUP))
        finished = asyncio.create_task(done.wait())
        await asyncio.wait([consuming, finished], return_when=asyncio.FIRST_COMPLETED)
        if consuming.done():
            consuming.result()
        consuming.cancel()


async def main() -> None:
    mediator = bootstrap.bootstrap(di_container=di.Container(), events_mapper=bind)
    deserialize = JsonDeserializer(EVENT)

    async def handle(body: bytes) -> None:
        event = deserialize(body)
        if not isinstance(event, EVENT):
            sys.exit(f"not read: {event}")
        await mediator.send(event)

    await (consume_kafka if URL.startswith("kafka:") else consume_amqp)(handle)


members.run(main())
