#!/usr/bin/env bash
# Load a Compose account into a Singer target. Each run resumes where the last one stopped.
#
#   load.sh FOLDER TARGET
#
# FOLDER   config.json of the tap, target.json of the target, and catalog.json to read only some
#          streams. The script keeps the state in state.json there, whose state it is in load.txt,
#          and the target's log of the last run in target.log.
# TARGET   The target's command, such as target-postgres.
#
# Exit status: that of the tap, or of the target if the tap succeeded; 2 if the folder's state
# belongs to another API or target; 75 if a run is still going on.
# Needs flock, which comes with util-linux.
set -euo pipefail
umask 077                              # only you may read the state
export PATH=~/.local/bin:"$PATH"       # where uv and pipx put commands; cron does not look there

if (($# != 2)); then
  echo "usage: $0 FOLDER TARGET" >&2
  exit 2
fi
CDPATH= cd -- "$1"
target=$2

exec 9> load.lock  # the tap and the target inherit it: the lock lasts as long as either runs
if ! flock --nonblock 9; then
  echo "nothing loaded: another run holds $PWD/load.lock; wait until it ends" >&2
  exit 75
fi

# With the state of another API or target, the tap would silently skip what is older.
api_url=
if [[ -f config.json ]]; then
  api_url=$(tr -d '\n' < config.json | sed -n 's/.*"api_url"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p')
fi
load="from ${api_url:-the default api_url} into ${target##*/}"
if [[ -s state.json && -s load.txt && $(< load.txt) != "$load" ]]; then
  echo "nothing loaded $load: $PWD/state.json is of a load $(< load.txt); use another folder," \
    "or delete state.json to read everything again" >&2
  exit 2
fi
printf '%s\n' "$load" > load.txt

arguments=(--config config.json)
if [[ -s catalog.json ]]; then arguments+=(--catalog catalog.json); fi
if [[ -s state.json ]]; then arguments+=(--state state.json); fi

# The target prints a state once everything before it is stored.
keep_state() {
  while IFS= read -r line; do
    printf '%s\n' "$line" > state.json.new && mv state.json.new state.json || return
  done
}

statuses=(0 0 0)
tap-compose "${arguments[@]}" | "$target" --config target.json 2> target.log | keep_state \
  || statuses=("${PIPESTATUS[@]}")
if ((statuses[1])); then
  tail -n 10 target.log >&2
  echo "${target##*/} failed with status ${statuses[1]}: see above, and $PWD/target.log" >&2
fi
for status in "${statuses[@]}"; do
  if ((status)); then exit "$status"; fi
done
