"""The programs of the workspace that the tests run."""

import json
import os
import pathlib
import shutil

import processes
from processes import Failure

WORKSPACE = pathlib.Path(__file__).resolve().parents[2]


def find_program(name, variable, example=False):
    """The path of the program, or of the example of the library: that of the environment variable, or
    the release build, built if necessary."""
    if override := os.environ.get(variable):
        path = shutil.which(override)
        if path is None:
            raise Failure(f"{variable} is '{override}', which is not a program")
        return os.path.abspath(path)
    metadata = processes.output_of(["cargo", "metadata", "--no-deps", "--format-version", "1",
                                    "--manifest-path", WORKSPACE / "Cargo.toml"])  # fmt: skip
    metadata = json.loads(metadata)
    release = pathlib.Path(metadata["target_directory"], "release")
    path, what = (release / "examples" / name, "--examples") if example else (release / name, "--bins")
    if not path.exists():
        processes.output_of(["cargo", "build", "--release", "--workspace", what,
                             "--manifest-path", pathlib.Path(metadata["workspace_root"], "Cargo.toml")])  # fmt: skip
    if not path.exists():
        raise Failure(f"the build has no program '{name}' (expected {path})")
    return path
