"""Reading headers: a folder of many small slides, and one instance of very many frames.

The one job: the section `scan`, with pydicom as the peer. Each measurement is a process of its own;
the start of the interpreter and the imports are not counted. The files lie in the page cache.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.comparison import compare, compared
from benchmarks.mounts import REPOSITORY, environment
from benchmarks.plan import Plan
from benchmarks.report import Row
from benchmarks.slides import in_page_cache, write_archive
from tests.fixtures.large import write_large

SECTION: Final = "scan"

_MOST_REPEATS: Final = 3  # of reading many frames: pydicom takes a minute for 100,000


def measure(plan: Plan) -> Iterator[Row]:
    """Many instances, then many frames."""
    folder = plan.folder("archive")
    instances = write_archive(folder, plan.archive_slides)

    def rate(reader: str) -> float:
        found = parse(reader, folder)
        if found["count"] != (plan.archive_slides if reader == "dicomfs" else instances):
            raise RuntimeError(f"{reader} found {found['count']} in {instances} instances")
        return instances / found["seconds"]

    found = compare(
        lambda _: rate("dicomfs"),
        lambda _: rate("headers"),
        plan.starts,
        "more",
        lambda: in_page_cache(*folder.rglob("*.dcm")),
    )
    what = f"{instances} instances, ready to be listed"
    yield Row(SECTION, what, "pydicom, headers alone", "instances/s", found, bar=0.25)
    yield from _many_frames(plan)


def _many_frames(plan: Plan) -> Iterator[Row]:
    path = plan.folder("sparse") / "sparse.dcm"
    write_large(path, plan.sparse_frames)
    peer = "pydicom, with the positions of the frames"
    values: dict[str, list[dict[str, float]]] = {"dicomfs": [], "positions": []}
    for _ in range(min(plan.starts, _MOST_REPEATS)):
        in_page_cache(path)
        values["dicomfs"].append(parse("dicomfs", path.parent))
        values["positions"].append(parse("positions", path))
    for measured, unit, name in (("seconds", "seconds", "time"), ("bytes", "bytes", "peak memory")):
        ours, theirs = ([each[measured] for each in values[reader]] for reader in values)
        what = f"TILED_SPARSE, {plan.sparse_frames:,} frames, {name}"
        yield Row(SECTION, what, peer, unit, compared(ours, theirs, "less"), bar=5.0)


def parse(reader: str, path: Path) -> dict[str, float]:
    """What `benchmarks.parsing` has found out."""
    command = [sys.executable, "-m", "benchmarks.parsing", reader, str(path)]
    with tempfile.TemporaryDirectory() as home:
        environ = environment(Path(home))
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environ, stdout=subprocess.PIPE, check=True
        )
    return json.loads(done.stdout)  # type: ignore[no-any-return]
