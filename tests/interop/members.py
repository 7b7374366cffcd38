"""What the scripts have in common: events of both kinds with the same payload, and brokers by their URL."""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import typing

import pydantic
from aio_pika import pool

import cqrs
from cqrs.adapters import amqp as amqp_adapter
from cqrs.adapters import kafka as kafka_adapter
from cqrs.message_brokers import amqp, kafka

EXCHANGE = "python_cqrs"
MEMBER_JOINED = "member_joined"

Item = typing.TypeVar("Item")


class Address(pydantic.BaseModel):
    postal_code: str
    city: str | None = None


class Page(pydantic.BaseModel, typing.Generic[Item]):
    """A payload that is generic itself."""

    member_id: int
    full_name: str
    items: list[Item]


class Joined(cqrs.PydanticNotificationEvent[Page[Address]], frozen=True):
    pass


def joined(topic: str, member_id: int) -> Joined:
    page = Page[Address](member_id=member_id, full_name=f"Zoë {member_id}", items=[Address(postal_code="75001")])
    return Joined(event_name=MEMBER_JOINED, topic=topic, payload=page)


@dataclasses.dataclass
class DCAddress:
    postal_code: str
    city: str | None = None


@dataclasses.dataclass
class DCPage:
    member_id: int
    full_name: str
    items: list[DCAddress]


class DCJoined(cqrs.NotificationEvent[DCPage]):
    """Since 5.0 the plain `NotificationEvent` is one of a dataclass."""


def address(url: str) -> str:
    return url.removeprefix("kafka://")


@contextlib.asynccontextmanager
async def channels(url: str):
    """Channels as the factories of python-cqrs make them, which close none of theirs."""
    connections = pool.Pool(functools.partial(amqp_adapter.connection_pool_factory, url=url), max_size=2)
    async with connections:
        async with pool.Pool(functools.partial(amqp_adapter.channel_pool_factory, connections), max_size=10) as opened:
            yield opened


@contextlib.asynccontextmanager
async def broker(url: str):
    """A message broker of python-cqrs, by the URL that the tests have."""
    if url.startswith("kafka:"):
        producer = kafka_adapter.kafka_producer_factory(dsn=address(url))
        try:
            yield kafka.KafkaMessageBroker(producer)
        finally:
            await producer._producer.stop()
    else:
        async with channels(url) as opened:
            yield amqp.AMQPMessageBroker(amqp_adapter.AMQPPublisher(opened), exchange_name=EXCHANGE)


def run(main: typing.Coroutine) -> None:
    logging.disable(logging.ERROR)
    asyncio.run(main)
