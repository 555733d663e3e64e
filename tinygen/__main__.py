"""`python -m tinygen` is the command `tinygen`."""

import sys

from tinygen.cli.main import main

sys.exit(main())
