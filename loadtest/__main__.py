"""The program behind `make load`: `python -m loadtest`."""

import sys

from loadtest.command.cli import main

if __name__ == "__main__":
    sys.exit(main())
