"""Compares the figures of two sets of benchmark runs, and says what got worse by more than their noise.

    python3 scripts/compare_bench.py BEFORE AFTER

BEFORE and AFTER are directories with the JSON files that `make bench` wrote, of one run or, in subdirectories, of several. The
noise of a figure is the spread of its measurements, relative to their median, on the noisier side, and at least 5 %. Exits with 1
if something got worse.
"""

import json
import statistics
import sys
from pathlib import Path

# Figures that were measured once have noise as well.
LEAST_NOISE = 0.05


def figures(directory):
    """Measurements of all runs: {(bench, case, name): (unit, better, samples)}."""
    files = sorted(Path(directory).rglob("*.json"))
    if not files:
        sys.exit(f"{directory}: contains no JSON files of make bench")
    found = {}
    for file in files:
        document = json.loads(file.read_text())
        for case in document["cases"]:
            for figure in case["figures"]:
                key = (document["bench"], case["case"], figure["name"])
                _, _, samples = found.setdefault(key, (figure["unit"], figure["better"], []))
                samples.extend(figure["samples"])
    return found


def spread(samples):
    median = statistics.median(samples)
    return (max(samples) - min(samples)) / median if median else 0.0


def compare(before, after):
    """Yields (key, unit, before, after, change, noise, verdict) for figures on both sides."""
    for key in sorted(before.keys() & after.keys()):
        unit, better, old = before[key]
        _, _, new = after[key]
        old_median, new_median = statistics.median(old), statistics.median(new)
        change = new_median / old_median - 1 if old_median else (0.0 if new_median == 0 else float("inf"))
        noise = max(LEAST_NOISE, spread(old), spread(new))
        verdict = ""
        if better == "lower" and abs(change) > noise:
            verdict = "worse" if change > 0 else "better"
        yield key, unit, old_median, new_median, change, noise, verdict


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    before, after = figures(sys.argv[1]), figures(sys.argv[2])
    print("| bench | case | figure | before | after | change | noise | |\n|---|---|---|---|---|---|---|---|")
    is_worse = False
    for (bench, case, name), unit, old, new, change, noise, verdict in compare(before, after):
        is_worse |= verdict == "worse"
        print(f"| {bench} | {case} | {name} | {old:.4g} {unit} | {new:.4g} {unit} | {change:+.0%} | {noise:.0%} | {verdict} |")
    for side, keys in (("before", before.keys() - after.keys()), ("after", after.keys() - before.keys())):
        for bench, case, name in sorted(keys):
            print(f"only {side}: {bench}, {case}, {name}")
    sys.exit(is_worse)


if __name__ == "__main__":
    main()
