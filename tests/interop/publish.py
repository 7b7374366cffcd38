"""publish.py BROKER TOPIC [protobuf]: a command of python-cqrs raises a domain event, whose handler raises notification events
of both kinds for each of three members; or one whose bytes are Protocol Buffers. Prints what was published, one JSON a line."""

import dataclasses
import json
import sys

import di

import cqrs
import members
from cqrs.bootstrap import requests as bootstrap

PUBLISHED: list[cqrs.INotificationEvent] = []
URL, TOPIC, *FORMAT = sys.argv[1:]


class Counted(cqrs.NotificationEvent[int]):
    def proto(self) -> "CountedMessage":
        return CountedMessage(self.payload)


@dataclasses.dataclass
class CountedMessage:
    """What is generated of `message Counted { int64 member_id = 1; }`, as far as it is used."""

    member_id: int

    def SerializeToString(self) -> bytes:
        return bytes([1 << 3, self.member_id])


class Join(cqrs.Request):
    member_id: int


class JoinedHere(cqrs.DomainEvent, frozen=True):
    member_id: int


class JoinHandler(cqrs.RequestHandler[Join, None]):
    def __init__(self) -> None:
        self._events: list[cqrs.IEvent] = []

    @property
    def events(self):
        return self._events

    async def handle(self, request: Join) -> None:
        self._events.append(JoinedHere(member_id=request.member_id))


class TellOthers(cqrs.EventHandler[JoinedHere]):
    def __init__(self) -> None:
        self._events: list[cqrs.IEvent] = []

    @property
    def events(self):
        return self._events

    async def handle(self, event: JoinedHere) -> None:
        if FORMAT:
            self._events.append(Counted(event_name="member_counted", topic=TOPIC, payload=event.member_id))
            PUBLISHED.extend(self._events)
            return
        name = f"Zoë {event.member_id}"
        page = members.Page[members.Address](
            member_id=event.member_id, full_name=name, items=[members.Address(postal_code="75001", city=None)]
        )
        dc_page = members.DCPage(event.member_id, name, [members.DCAddress("75001", "Paris")])
        self._events += [
            members.Joined(event_name="member_joined", topic=TOPIC, payload=page),
            members.DCJoined(event_name="member_joined", topic=TOPIC, payload=dc_page),
        ]
        PUBLISHED.extend(self._events)


async def main() -> None:
    async with members.broker(URL) as broker:
        mediator = bootstrap.bootstrap(
            di_container=di.Container(),
            commands_mapper=lambda requests: requests.bind(Join, JoinHandler),
            domain_events_mapper=lambda events: events.bind(JoinedHere, TellOthers),
            message_broker=broker,
            serializer=cqrs.ProtobufEventSerializer({Counted: CountedMessage}) if FORMAT else None,
        )
        for member_id in range(3):
            await mediator.send(Join(member_id=member_id))
    for event in PUBLISHED:
        kind = "pydantic" if isinstance(event, members.Joined) else "dataclass"
        print(json.dumps({"id": str(event.event_id), "time": event.event_timestamp.isoformat(), "kind": kind}))


members.run(main())
