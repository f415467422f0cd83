#!/bin/sh
# Job 2: downloads the file of job 1, checks it, computes and uploads. It is given INPUT and OUTPUT, two URLs of aliases.
set -eu
jobs=$(dirname "$0")
curl="curl -fsS --retry 10 --retry-all-errors --retry-connrefused --retry-max-time 60 --speed-limit 1024 --speed-time 60"

$curl -o primes.csv -w '7 downloaded with curl: status %{http_code}, %{size_download} bytes in %{time_total} s\n' "$INPUT"
$curl -o primes.csv.sha256 "$INPUT.sha256"
echo "7 checked the SHA-256 with sha256sum: $(sha256sum -c primes.csv.sha256)"

python3 "$jobs/gaps.py" <primes.csv >gaps.csv
echo "7 computed gaps.csv: $(($(wc -l <gaps.csv) - 1)) different gaps, $(wc -c <gaps.csv) bytes, sha256 $(sha256sum gaps.csv | cut -c1-64)"

$curl -o answer.txt -w '7 uploaded with curl: status %{http_code}, %{size_upload} bytes in %{time_total} s\n' -T gaps.csv "$OUTPUT"
