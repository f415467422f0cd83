"""What job 2 computes: from the primes on standard input, how often each gap occurs, as CSV on standard output."""

import collections
import csv
import sys

counts: collections.Counter[int] = collections.Counter()
first: dict[int, int] = {}
for row in csv.DictReader(sys.stdin):
    if row["gap"]:
        gap = int(row["gap"])
        counts[gap] += 1
        first.setdefault(gap, int(row["prime"]) - gap)
print("gap,count,first_after")
for gap in sorted(counts):
    print(f"{gap},{counts[gap]},{first[gap]}")
