"""Time and memory of `loratory report` on a large study, which this makes.

    python benchmarks/report.py                            # 2,000 trials, 500 examples
    python benchmarks/report.py --folder /tmp/large        # keeps the study, and takes it the next time
    python benchmarks/report.py --trials 200 --examples 100

Every trial is complete and has the eight metrics of text generation with statistics per example, six
evaluations on eval.dev and 100 optimiser steps; a tenth more were pruned. Prints a line of JSON: seconds and
CPU seconds of the whole command, peak memory, sizes of the files, and the machine's load before it began.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report_cells.large_study import write_large_study

from loratory.objectives.study_folder import StudyFolder


def main() -> int:
    """Make the study where there is none, and time its report."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = StudyFolder(arguments.folder or Path(made) / "large")
        if not folder.manifest.is_file():
            began = time.monotonic()
            write_large_study(folder, trials=arguments.trials, examples=arguments.examples)
            print(f"made the study in {time.monotonic() - began:.0f} s", file=sys.stderr)
        print(json.dumps(_timed(folder)))
    return 0


def _timed(folder: StudyFolder) -> dict[str, object]:
    """Run the command in a process of its own and return what it took."""
    load = os.getloadavg()[0]
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "loratory.search.main", "report", str(folder.path)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    files = (folder.report_html, folder.report_markdown, folder.report_json, folder.trials_csv)
    return {
        "records": len(list(folder.path.glob("trials/*/record.json"))),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_memory_mib": round(used.ru_maxrss / 1024),
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        "megabytes": {path.name: round(path.stat().st_size / 1e6, 1) for path in files},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2000, help="complete trials; a tenth more are pruned")
    parser.add_argument("--examples", type=int, default=500, help="examples of eval.select")
    parser.add_argument("--folder", type=Path, help="study folder that is kept; taken as it is if it exists")
    return parser


if __name__ == "__main__":
    sys.exit(main())
