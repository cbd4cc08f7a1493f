"""One client of the relay's protocol for both load rooms: a sans-I/O core, and one epoll engine that drives it.

`websocket` is RFC 6455 as a client needs it, `protocol` is `varde.v1` on it, `epoll` moves the bytes. Nothing here
imports Trio, Locust or server code, or needs gevent. A program that only measures (docs/benchmarks.md) uses it so:

    class Member:                                   # what `epoll.Protocol` asks for
        def __init__(self, hello, static, relay_key):
            self.relay = RelayClient("127.0.0.1:1", "/v1/relay", hello, static, relay_key)

        def open(self) -> bytes:
            return self.relay.open()

        def receive(self, received: bytes) -> bytes:
            before = self.relay.live
            for event in self.relay.receive(received):          # or `receive_plaintexts`, which only decrypts
                match event:
                    case f.Ack(): ...
                    case Ending(): raise ServerFault(f"the relay closed: {event.code}")
            reply = self.relay.take_reply()
            return reply + self.relay.send(f.Join()) if self.relay.live and not before else reply

        def lost(self, reason: str) -> None:
            raise ServerFault(reason)

    engine = Engine()
    connection = Connection(engine, Member(...))
    connection.connect(("127.0.0.1", port))
    while ...:
        connection.send(member.relay.send(frame))   # False: the kernel did not take all; the engine sends the rest
        engine.poll(0.01)

A worker of Locust lets gevent's loop wait for `Engine.file` instead: `users/population.py`.
"""
