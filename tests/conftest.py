"""Children of the tests import the installed package, not the source tree they may be started in."""

import os

os.environ["PYTHONSAFEPATH"] = "1"
