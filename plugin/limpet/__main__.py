"""`python -m limpet` is the command `limpet`."""

import os
import sys

from .cli import main

if __name__ == "__main__":
    # Python put the current folder first, from where a configuration might then import a module that nobody named.
    if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
        del sys.path[0]
    sys.exit(main())
