"""A wheel holds everything that an editable install finds in the tree."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_has_every_module_the_base_model_and_the_templates(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("loratory-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    packages = ("spaces", "objectives", "reports", "search")
    modules = {
        f"loratory/{path.relative_to(ROOT)}" for name in packages for path in (ROOT / name).rglob("*.py")
    }
    assert modules <= held, sorted(modules - held)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
        assert f"loratory/objectives/quickstart/base/{name}" in held
    assert "loratory/objectives/quickstart/study.yaml" in held
    assert any(name.startswith("loratory/reports/templates/") for name in held)
    assert "loratory/spaces/py.typed" in held
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in held)
