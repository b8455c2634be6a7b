"""The parts of the packing benchmark: what is trained, the ways of training it, the table of the numbers."""

import logging

# On some CPUs it recommends a package that nothing here needs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
