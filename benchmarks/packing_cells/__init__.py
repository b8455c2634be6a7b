"""The parts of the packing benchmarks: models and data, ways of training, results, tables."""

import logging

# On some CPUs it recommends a package that nothing here needs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
