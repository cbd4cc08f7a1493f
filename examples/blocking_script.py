"""No loop at all: send, then wait for one answer. `python examples/blocking_script.py HOME LINK TEXT`."""

import sys
from pathlib import Path

import varde
from varde import blocking


def main() -> None:
    home, link, text = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    with blocking.connect(home, varde.KeyFile(home / "key"), timeout=60) as client:
        conversation = client.use_link(link)
        sent = conversation.send(text)
        for event in client.events(timeout=60):
            if isinstance(event, varde.Message) and event.conversation == conversation.id and event.seq > sent.seq:
                print("answer:", event.text)
                break


if __name__ == "__main__":
    blocking.run(main)
