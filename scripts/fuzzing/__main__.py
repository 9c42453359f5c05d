"""`scripts/fuzz TARGET [--seconds N]`: fuzz one target, and say what came of it.

Ends with 1 where there is a finding, which lies in the folder that is named then. A finding belongs
into the corpus (`tests/hostile/corpus`) once it is mended.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any


def main() -> int:
    """Parse the arguments and fuzz."""
    arguments = _arguments()
    if arguments.target == "frames":
        from fuzzing.frames import fuzz_frames

        findings = arguments.corpus / "findings"
        outcome = fuzz_frames(arguments.seconds, arguments.codec, findings, arguments.seed)
        print(outcome)
        return int(bool(outcome.deaths or outcome.unexpected))
    if importlib.util.find_spec("atheris") is None:
        print("atheris is missing: .venv/bin/python -m pip install atheris", file=sys.stderr)
        return 2
    _fuzz_under_coverage(arguments.target, arguments.seconds, arguments.corpus, arguments.seed)
    return 0


def _fuzz_under_coverage(target: str, seconds: int, corpus: Path, seed: int) -> None:
    """Does not return: libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    # Everything else first, so that only the parsers are instrumented.
    importlib.import_module("imagecodecs")
    importlib.import_module("pydicom")
    importlib.import_module("numpy")
    with atheris.instrument_imports(include=["dicomfs"], enable_loader_override=False):
        targets = importlib.import_module("fuzzing.targets").TARGETS
    seeds = importlib.import_module("fuzzing.seeds")
    folder = corpus / target
    seeds.write_seeds(target, folder)
    findings = corpus / "findings" / target
    findings.mkdir(parents=True, exist_ok=True)
    print(f"findings go to {findings}", flush=True)
    atheris.Setup(
        [
            "fuzz",
            f"-max_total_time={seconds}",
            f"-artifact_prefix={findings}/",
            f"-seed={seed}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-max_len=16384",
            "-print_final_stats=1",
            str(folder),
        ],
        targets[target],
    )
    atheris.Fuzz()


def _arguments() -> argparse.Namespace:
    from fuzzing.names import NAMES

    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("target", choices=NAMES, help="what is fuzzed")
    parser.add_argument("--seconds", type=int, default=60, help="for how long (default: 60)")
    parser.add_argument(
        "--corpus",
        type=Path,
        default=Path(tempfile.gettempdir(), "dicomfs-fuzz"),
        help="folder for what is learnt and found (default: %(default)s)",
    )
    parser.add_argument("--codec", default="", help="frames: only codecs that start with this")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: 1)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
