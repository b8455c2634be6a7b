"""Time and memory of data preparation at size.

    python benchmarks/preparation.py [--rows 50000 200000] [--chat-template]

Makes short rows like those of chats (lengths log-normal, one in fifty a near copy), prepares them in a
process of its own with the quick start's tokenizer, and once more as a resume does. Prints seconds of the
process with its imports, of the preparation, processor seconds of the latter and the peak memory.
"""

import argparse
import json
import math
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loratory.objectives.quickstart import base_folder

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
COPIED = 0.02
_SYLLABLES = (
    "ka",
    "lo",
    "mi",
    "ren",
    "sta",
    "vor",
    "the",
    "an",
    "du",
    "pel",
    "ish",
    "ton",
    "gra",
    "ze",
    "qui",
)

PROCESS = """
import json, resource, sys, time
from pathlib import Path
from loratory.objectives.objective import Beginning
from loratory.objectives.qlora.kind import QLORA
from loratory.spaces.study import StudySpec
QLORA.import_for_prepare()
imported, worked = time.perf_counter(), time.process_time()
study = StudySpec.model_validate(json.loads(sys.argv[1]))
beginning = Beginning(created_at="2026-01-01T00:00:00+00:00", cache=Path(sys.argv[2]))
prepared = QLORA.prepare(study, beginning)
for name, data in prepared.files.items():
    (Path(sys.argv[2]) / name).write_bytes(data)
print(json.dumps({
    "prepared_s": time.perf_counter() - imported,
    "worked_s": time.process_time() - worked,
    "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    "sha256": prepared.hashes["data"], "splits": prepared.splits,
}))
"""


def main() -> None:
    """Print a table of sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[50_000, 200_000])
    parser.add_argument("--chat-template", action="store_true", help="give the tokenizer a chat template")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="loratory-benchmark-") as name:
        folder = Path(name)
        base = _base(folder / "base", chat_template=options.chat_template)
        for rows in options.rows:
            file = folder / f"{rows}.jsonl"
            write_rows(file, rows)
            cache = folder / f"data-{rows}"
            cache.mkdir()
            for what in ("first", "resume"):
                print(f"{rows:,} rows, {what}: {measure(file, base, cache)}", flush=True)


def write_rows(file: Path, count: int) -> None:
    """Write `count` rows of chats of one question; equal counts give equal files."""
    draw = random.Random(count)
    vocabulary = json.loads((base_folder() / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    words = [token[1:] for token in vocabulary if token.startswith("Ġ") and token[1:].isalpha()]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    with file.open("w", encoding="utf-8") as out:
        question = answer = ""
        for _ in range(count):
            if not question or draw.random() >= COPIED:
                question = f"{_text(draw, words, weights, 14)}?"
                answer = f"{_text(draw, words, weights, 25)}."
            else:
                answer += " " + words[draw.randrange(len(words))]
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            out.write(json.dumps({"messages": turns}) + "\n")


def _text(draw: random.Random, words: list[str], weights: list[float], median: int) -> str:
    length = min(120, max(2, round(draw.lognormvariate(math.log(median), 0.6))))
    return " ".join(draw.choices(words, weights, k=length)).capitalize()


def _base(folder: Path, *, chat_template: bool) -> Path:
    shutil.copytree(base_folder(), folder)
    if chat_template:
        (folder / "chat_template.jinja").write_text(CHATML)
    return folder


def measure(file: Path, base: Path, cache: Path) -> str:
    """Prepare a file in a separate process; return time and memory as a line."""
    study = {
        "name": "preparation",
        "space": {"rank": [4, 8]},
        "model": {"base": str(base)},
        "data": {"train": str(file), "max_length": 512},
        "evaluation": {"dev_examples": 64},
    }
    began = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", PROCESS, json.dumps(study), str(cache)],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        return f"failed: {run.stderr.strip().splitlines()[-1]}"
    found = json.loads(run.stdout.splitlines()[-1])
    return (
        f"{time.perf_counter() - began:.1f} s in all, {found['prepared_s']:.2f} s of preparation "
        f"({found['worked_s']:.2f} s of processors), "
        f"{found['peak_gib']:.2f} GiB; {found['splits']}, {found['sha256'][:12]}"
    )


if __name__ == "__main__":
    main()
