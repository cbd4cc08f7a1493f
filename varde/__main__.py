"""`python -m varde`. Everything else is in `varde.command.entry`."""

import sys

from varde.command.entry import main

if __name__ == "__main__":
    sys.exit(main())
