"""`python -m varde_cli`, which is `varde`. Everything else is in `varde_cli.entry`."""

import sys

from varde_cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
