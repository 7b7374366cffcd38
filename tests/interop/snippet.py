"""snippet.py AMQP TEXT: runs a snippet of Python that has a channel."""

import sys
import textwrap

import members

URL, TEXT = sys.argv[1:]


async def main() -> None:
    names = {}
    exec("async def snippet(channel):\n" + textwrap.indent(TEXT, "    "), names)
    async with members.channels(URL) as channels, channels.acquire() as channel:
        await names["snippet"](channel)


members.run(main())
