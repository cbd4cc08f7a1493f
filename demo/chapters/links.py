"""People who have never met come together by links: nobody types an id, and nobody has to believe the server."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import varde
from demo.context import DemoContext
from demo.promises import BrokenPromise, expect
from varde.events import LinkUsed


async def meet_by_links(context: DemoContext) -> None:
    """A link to a person, for one; a link into a group, for two."""
    dave, erin = context.people["dave"], context.people["erin"]
    async with AsyncExitStack() as stack:
        daves, erins, carols = [
            await stack.enter_async_context(context.device(name, "phone").online())
            for name in ("dave", "erin", "carol")
        ]
        soon = datetime.now(UTC) + timedelta(hours=1)
        async with context.transcript.promise(
            "Erin lets nobody find her and makes a link; Dave uses it, and her phone accepts by itself"
        ):
            await erins.client.set_found_by("nobody")
            link = await erins.client.make_link(soon)
            # It is searched for in the end, like what people said: the server never had it.
            context.sent_texts.append(link.url.partition("#")[2])
            dm = await daves.client.use_link(link.url)
            await dm.wait_accepted()
            await erins.inbox.wait(lambda inbox: [each.account for each in inbox.of(LinkUsed)] == [dave.account])
        context.transcript.note(f"{link.url[:48]}...  (as text, as a QR code, as a picture)")
        async with context.transcript.promise("neither believed the server who the other is: the link says it"):
            assert dave.account is not None
            assert erin.account is not None
            expect(erins.client.safety_number(dave.account), daves.client.safety_number(erin.account))
            await context.send_text(dm, "Hi Erin. Your link was all I needed.")
            await erins.inbox.wait_text(dm.id, context.sent_texts[-1])
        async with context.transcript.promise("the link was for one: Carol, who got a copy, is let in by nobody"):
            try:
                await carols.client.use_link(link.url)
            except varde.NotFound:
                pass
            else:
                raise BrokenPromise("a refusal", "she came in")
        async with context.transcript.promise(
            "a link into a group brings two more in, and nobody there has to add them"
        ):
            group = await erins.client.open_group([])
            into = await group.make_link(soon, uses=2)
            for each in (daves, carols):
                await context.send_text(await each.client.use_link(into.url), "I came by the link")
            await erins.inbox.wait_texts(group.id, 2)
