"""The program behind `make load`: `python -m loadtest`. Refuses everything but to call its entry point."""

import sys

from loadtest.command.entry import main

if __name__ == "__main__":
    sys.exit(main())
