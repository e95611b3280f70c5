"""`python -m xlnb`."""

import sys

from xlnb.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
