"""Reads at random places, and says how long each read took.

    python -I -S random_reader.py FILE COUNT BYTES SEED

A child of its own: a thread would measure its waiting for the interpreter. Says "ready" when it has
opened the file, begins when a line comes in, and writes the nanoseconds of each read in binary (64
bits each). Needs the standard library only, so that sixteen of it start at once.
"""

import array
import os
import random
import sys
import time


def main() -> None:
    path, count, size, seed = sys.argv[1], *map(int, sys.argv[2:])
    handle = os.open(path, os.O_RDONLY)
    last = os.fstat(handle).st_size - size
    places = random.Random(seed)
    offsets = [places.randrange(last) for _ in range(count)]
    buffer = [bytearray(size)]
    times = array.array("q")
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    sys.stdin.readline()
    for offset in offsets:
        begun = time.perf_counter_ns()
        got = os.preadv(handle, buffer, offset)
        times.append(time.perf_counter_ns() - begun)
        if got != size:
            sys.exit(f"{got} of {size} bytes at {offset}")
    sys.stdout.buffer.write(times.tobytes())


if __name__ == "__main__":
    main()
