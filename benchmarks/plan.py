"""Seconds and peak memory of `radcap plan`, all models and strategies: python benchmarks/plan.py (from the root)."""

import resource
import subprocess
import time


def main() -> None:
    start = time.monotonic()
    subprocess.run(["radcap", "plan", "--json"], check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    # Of the largest child, in KiB on Linux.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"radcap plan: {seconds:.1f} s, {peak:.2f} GiB peak (budget: 60 s, 3 GiB)")


if __name__ == "__main__":
    main()
