"""What job 1 computes: every prime below a limit with its distance to the one before it, as CSV on standard output."""

import sys

limit = int(sys.argv[1])
sieve = bytearray([1]) * limit
sieve[:2] = b"\0\0"
for n in range(2, int(limit**0.5) + 1):
    if sieve[n]:
        sieve[n * n :: n] = bytes(len(range(n * n, limit, n)))
before = 0
lines = ["number,prime,gap\n"]
for number, prime in enumerate((n for n in range(limit) if sieve[n]), 1):
    lines.append(f"{number},{prime},{prime - before if before else ''}\n")
    before = prime
sys.stdout.writelines(lines)
