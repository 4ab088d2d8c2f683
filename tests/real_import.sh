#!/usr/bin/env bash
# The main job on a real file: import, get, scan, export, kill -9 in the middle, checkpoint, check; everything is
# compared record for record with a reader of the file that shares no code with the database.
#
#   tests/real_import.sh FILE [FIELD]
#
# FILE is a deb822 file, unpacked: for instance the package index that "apt-get update" leaves, through
# "/usr/lib/apt/apt-helper cat-file". FIELD is the key, "Package" if it is not given. Needs python3.
# NOKV names the binary; without it, it is built with --release. Ends with 0 if all is as it should be.
set -euo pipefail
if [ $# -lt 1 ]; then
  echo "usage: tests/real_import.sh FILE [FIELD]" >&2
  exit 2
fi
file=$(realpath "$1")
field=${2:-Package}
if [ -z "${NOKV:-}" ]; then
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  (cd "$root" && cargo build --locked --release -p nokv)
  NOKV=${CARGO_TARGET_DIR:-$root/target}/release/nokv
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compare=$work/compare.py
cat >"$compare" <<'PY'
"""compare.py FILE FIELD COUNT < export.jsonl: is the export the first COUNT records (-1: all), the last of a key winning?"""
import json, sys

def stanzas(path):
    with open(path, "rb") as f:
        lines = []
        for line in f.read().split(b"\n"):
            if line.strip():
                lines.append(line)
            elif lines:
                yield b"\n".join(lines)
                lines = []
        if lines:
            yield b"\n".join(lines)

def field_of(stanza, name):
    for line in stanza.split(b"\n"):
        head, colon, rest = line.partition(b":")
        if colon and head.lower() == name and not line[:1].isspace():
            return rest.strip()
    raise SystemExit("a stanza without the field: %r" % stanza[:80])

def side(record, name):
    return bytes.fromhex(record[name + "_hex"]) if name + "_hex" in record else record[name].encode()

path, name, count = sys.argv[1], sys.argv[2].lower().encode(), int(sys.argv[3])
expected, records = {}, 0
for stanza in stanzas(path):
    if records == count:
        break
    expected[field_of(stanza, name)] = stanza
    records += 1
if count >= 0 and records != count:
    raise SystemExit("the database says %d records, the file has %d" % (count, records))
found = [(side(r, "key"), side(r, "value")) for r in map(json.loads, sys.stdin)]
if found != sorted(expected.items()):
    keys = [k for k, _ in found]
    missing = [k for k in expected if k not in set(keys)]
    wrong = [k for k, v in found if expected.get(k) != v]
    raise SystemExit("different: %d expected, %d found, in order: %s, missing %r, wrong %r"
                     % (len(expected), len(found), keys == sorted(keys), missing[:3], wrong[:3]))
print("%d records, %d keys, all equal" % (records, len(expected)))
PY
say() { printf '%-34s %s\n' "$1" "$2"; }
mib() { awk -v b="$1" 'BEGIN { printf "%.1f MiB", b / 1048576 }'; }
bytes_of() { du -sb --apparent-size "$1" | cut -f1; }
json_field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
seconds() { date +%s.%N; }
took() { awk -v a="$1" -v b="$(seconds)" 'BEGIN { printf "%.2f s", b - a }'; }

db=$work/db
say "input" "$(mib "$(stat -c %s "$file")")"
"$NOKV" import --workdir "$db" --format deb822 --key "$field" --json "$file" >"$work/report"
say "import" "$(json_field records <"$work/report") records, $(json_field repeated <"$work/report") repeated, $(json_field seconds <"$work/report") s"
say "directory" "$(mib "$(bytes_of "$db")"), of it the log $(mib "$(bytes_of "$db/wal")")"
start=$(seconds)
"$NOKV" export --workdir "$db" --format jsonl >"$work/export"
say "export" "$(took "$start")"
say "export against the file" "$(python3 "$compare" "$file" "$field" -1 <"$work/export")"

# get and scan give what the export gave.
python3 - "$NOKV" "$db" "$work/export" <<'PY'
import json, random, subprocess, sys
nokv, db, path = sys.argv[1:]
rows = [json.loads(line) for line in open(path, encoding="utf-8")]
rows = [r for r in rows if "key" in r and "value" in r]
run = lambda *a: subprocess.run([nokv, *a, "--workdir", db], stdout=subprocess.PIPE, check=True).stdout
random.seed(7)
sample = random.sample(rows, min(50, len(rows)))
for r in sample:
    assert run("get", r["key"]) == r["value"].encode() + b"\n", r["key"]
for r in sample[:10]:
    prefix = r["key"][:2]
    want = [x for x in rows if x["key"].startswith(prefix)]
    scan = lambda *more: [json.loads(l) for l in run("scan", "--prefix", prefix, "--json", *more).splitlines()]
    assert scan() == want, prefix
    assert scan("--reverse", "--limit", "5") == want[::-1][:5], prefix
print("%-34s %d gets, 20 scans, all equal" % ("get and scan", len(sample)))
PY
absent=0
"$NOKV" get --workdir "$db" "no such key" 2>/dev/null || absent=$?
[ "$absent" = 1 ]
start=$(seconds)
"$NOKV" check --workdir "$db" >/dev/null
say "check" "clean, $(took "$start")"

# kill -9 in the middle of an import: it reads a pipe that never ends, so it cannot be done.
killed=$work/killed
mkfifo "$work/pipe"
"$NOKV" import --workdir "$killed" --format deb822 --key "$field" - <"$work/pipe" &
import=$!
exec 3>"$work/pipe"
head -c $(($(stat -c %s "$file") * 3 / 4)) "$file" >&3 &
feeder=$!
until [ -e "$killed/CURRENT" ] && [ "$("$NOKV" stats --workdir "$killed" --json 2>/dev/null | json_field published_seq 2>/dev/null || echo 0)" -gt 1000 ]; do
  kill -0 "$import"
done
kill -9 "$import"
exec 3>&-
wait "$import" "$feeder" 2>/dev/null || true
count=$("$NOKV" stats --workdir "$killed" --json | json_field published_seq)
"$NOKV" check --workdir "$killed" >/dev/null
"$NOKV" export --workdir "$killed" --format jsonl >"$work/export-killed"
say "after kill -9, read-only" "$(python3 "$compare" "$file" "$field" "$count" <"$work/export-killed")"
"$NOKV" compact --workdir "$killed" >/dev/null
"$NOKV" export --workdir "$killed" --format jsonl | cmp - "$work/export-killed"
"$NOKV" check --workdir "$killed" >/dev/null
say "after kill -9, reopened, compacted" "the same, check clean"
"$NOKV" import --workdir "$killed" --format deb822 --key "$field" "$file" >/dev/null
"$NOKV" export --workdir "$killed" --format jsonl | cmp - "$work/export"
say "imported again on top of it" "equal to the file"

start=$(seconds)
"$NOKV" checkpoint --workdir "$db" "$work/copy" >/dev/null
say "checkpoint" "$(took "$start")"
"$NOKV" set --workdir "$db" "not in the copy" x
"$NOKV" compact --workdir "$db" >/dev/null
"$NOKV" export --workdir "$work/copy" --format jsonl | cmp - "$work/export"
"$NOKV" check --workdir "$work/copy" >/dev/null
"$NOKV" check --workdir "$db" >/dev/null
say "export of the checkpoint" "equal to the file, check clean"
say "directory after compact" "$(mib "$(bytes_of "$db")"), of it the log $(mib "$(bytes_of "$db/wal")")"
echo "all as it should be"
