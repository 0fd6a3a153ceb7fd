"""A stand-in for NVIDIA's driver, for lack of a real one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests import programs
from tests.docker.images.buildah import Container

PATH = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"  # where NVIDIA's toolkit mounts it


def build(folder: Path, image: Container) -> Path:
    """Build a driver that reports no device; 100 is CUDA_ERROR_NO_DEVICE."""
    source, library = folder / "driver.c", folder / "libcuda.so.1"
    functions = _find_functions(image)
    source.write_text("".join(f"int {name}() {{ return 100; }}\n" for name in functions))
    asked = [
        programs.path("gcc", "images"),
        "-shared",
        "-fPIC",
        "-Wl,-soname,libcuda.so.1",
        "-o",
        library,
        source,
    ]
    subprocess.run(asked, check=True)
    return library


def _find_functions(image: Container) -> set[str]:
    """Return the names of the functions that no library in the image has."""
    output = image.run("ldd -r venv/lib/python3.11/site-packages/mxnet/libmxnet.so 2>&1")
    missing = set(re.findall(r"undefined symbol: (\w+)", output))
    assert missing
    assert all(name.startswith("cu") for name in missing)
    return missing
