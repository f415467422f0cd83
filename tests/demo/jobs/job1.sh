#!/bin/sh
# Job 1: computes a file and uploads it. All it is given is OUTPUT, the URL of an alias.
set -eu
jobs=$(dirname "$0")
put="curl -fsS --retry 10 --retry-all-errors --retry-connrefused --retry-max-time 60 --speed-limit 1024 --speed-time 60"

python3 "$jobs/primes.py" "$1" >primes.csv
echo "3 computed primes.csv: $(($(wc -l <primes.csv) - 1)) primes below $1, $(wc -c <primes.csv) bytes, sha256 $(sha256sum primes.csv | cut -c1-64)"

$put -o answer.txt -w '4 uploaded with curl: status %{http_code}, %{size_upload} bytes in %{time_total} s\n' -T primes.csv "$OUTPUT"
