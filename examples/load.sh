#!/usr/bin/env bash
# Needs flock: util-linux on Linux, `brew install flock` on macOS.
#
# Load a Compose account into a Singer target. Each run resumes where the last one stopped.
#
#   load.sh FOLDER TARGET
#
# FOLDER   config.json of the tap, target.json of the target, and catalog.json to read only some
#          streams. The script keeps the state in state.json there, whose state it is in load.txt,
#          and the target's log of the last run in target.log.
# TARGET   The target's command, such as target-postgres.
#
# Exit status: that of the tap, or of the target if the tap succeeded; 2 if a file of settings is
# missing or the folder's state belongs to another API or target; 75 if a run is still going on.
# SIGHUP, SIGINT or SIGTERM end it with 129, 130 or 143; what was read until then is loaded.
set -euo pipefail
umask 077                              # only you may read the state
export PATH=~/.local/bin:"$PATH"       # where uv and pipx put commands; cron does not look there

if (($# != 2)); then
  echo "usage: $0 FOLDER TARGET" >&2
  exit 2
fi
target=$2
if [[ $target == */* && $target != /* ]]; then target=$PWD/$target; fi
CDPATH= cd -- "$1"

if ! command -v flock > /dev/null; then
  echo "nothing loaded: flock is not installed; it is part of util-linux, on macOS brew install flock" >&2
  exit 2
fi
exec 9> load.lock  # the tap and the target inherit it: the lock lasts as long as either runs
if ! flock --nonblock 9; then
  echo "nothing loaded: another run holds $PWD/load.lock; wait until it ends" >&2
  exit 75
fi

for file in config.json target.json; do
  if [[ ! -r $file ]]; then
    echo "nothing loaded: $PWD/$file cannot be read; put the settings of the ${file%.json} there" >&2
    exit 2
  fi
done

# With the state of another API or target, the tap would silently skip what is older.
api_url=$(tr -d '\n' < config.json | sed -n 's/.*"api_url"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p')
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

# A signal ends the tap alone. The target stores what it got, and its last state is kept.
store() {
  trap '' HUP INT TERM
  # The target prints a state once everything before it is stored.
  "$target" --config target.json 2> target.log | while IFS= read -r line; do
    printf '%s\n' "$line" > state.json.new && mv state.json.new state.json || exit
  done
}

status_of() {
  while kill -0 "$1" 2> /dev/null; do wait "$1" || :; done  # a trap interrupts wait
  wait "$1"
}

# Two jobs and a pipe with a name: with `|` bash would handle a signal only after both have ended.
rm -f load.pipe
mkfifo load.pipe
tap-compose "${arguments[@]}" > load.pipe &
tap=$!
for signal in HUP INT TERM; do trap "kill -s $signal $tap 2> /dev/null || :" "$signal"; done
store < load.pipe &
stored=$!

tap_status=0
status_of "$tap" || tap_status=$?
target_status=0
status_of "$stored" || target_status=$?
rm -f load.pipe
if ((target_status)); then
  tail -n 10 target.log >&2
  echo "${target##*/} failed with status $target_status: see above, and $PWD/target.log" >&2
fi
exit $((tap_status ? tap_status : target_status))
