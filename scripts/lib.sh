# shellcheck shell=bash
# What the scripts beside this file share: where things are, free ports, children that end with their
# parent, and waiting for a condition. Sourced, never run. Written for bash 3.2 and later.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # for the scripts that source this
target=${CARGO_TARGET_DIR:-$root/target}

say()  { printf '%s\n' "$*"; }
note() { printf '%s\n' "$*" >&2; }
die()  { note "${0##*/}: $1"; exit "${2:-1}"; }
has()  { command -v "$1" >/dev/null 2>&1; }

# ---------------------------------------------------------------- where programs are

# Puts folders on PATH that installers leave off it. PostgreSQL's server programs
# are in no folder of PATH on Debian, servers such as nginx in one that users don't
# have there, and cargo is in none until the next login.
add_known_paths() {
  local dir
  if ! has cargo; then
    dir=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
    [ ! -x "$dir/cargo" ] || PATH=$dir:$PATH
  fi
  if ! has initdb || ! has postgres; then
    dir=$(newest_postgres_bin)
    [ -z "$dir" ] || PATH=$dir:$PATH
  fi
  case :$PATH: in *:/usr/sbin:*) ;; *) [ ! -d /usr/sbin ] || PATH=$PATH:/usr/sbin ;; esac
  export PATH
}

newest_postgres_bin() {
  local dir
  for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
    /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
    [ ! -x "$dir/initdb" ] || [ ! -x "$dir/postgres" ] || printf '%s\n' "$dir"
  done | sort -V | tail -n 1
}

# ---------------------------------------------------------------- settings

# toml_string KEY FILE: the string of a key above the file's first table, in either of TOML's quotes, or nothing.
toml_string() {
  local blank='[[:space:]]*' quote="[\"']\\{0,1\\}"
  local start="^${blank}${quote}$1${quote}${blank}=${blank}"
  sed -n -e "/^${blank}\\[/q" \
    -e "s/${start}\"\\([^\"]*\\)\".*/\\1/p" \
    -e "s/${start}'\\([^']*\\)'.*/\\1/p" "$2"
}

# ---------------------------------------------------------------- addresses

# 0.0.0.0:8001 -> 127.0.0.1:8001: where a client on this machine finds a listener.
reachable() {
  case $1 in
    0.0.0.0:*) printf '127.0.0.1:%s\n' "${1##*:}" ;;
    '[::]:'*)  printf '[::1]:%s\n' "${1##*:}" ;;
    *)         printf '%s\n' "$1" ;;
  esac
}

# Something accepts connections at HOST:PORT.
listening() {
  local address host
  address=$(reachable "$1")
  host=${address%:*}; host=${host#[}; host=${host%]}
  (exec 3<>"/dev/tcp/$host/${address##*:}") 2>/dev/null
}

ports_given=" "
# Sets `port` to a port of 127.0.0.1 that nothing listens on and that was not given out before. It stays
# below the range from which systems take ports for outgoing connections.
pick_port() {
  local try
  for try in $(seq 1 200); do
    port=$((10000 + (RANDOM * 32768 + RANDOM) % 20000))
    case $ports_given in *" $port "*) continue ;; esac
    if ! listening "127.0.0.1:$port"; then ports_given="$ports_given$port "; return; fi
  done
  die "no free port found on 127.0.0.1 after $try tries"
}

# ---------------------------------------------------------------- children

children=()
scratch=

# Sets `scratch` to a new folder that goes when the script ends.
make_scratch() { scratch=$(mktemp -d "${TMPDIR:-/tmp}/larder.XXXXXX"); }

# Runs a command in the background and sets `pid`; `finish` ends it. Where the
# system can (Linux), it ends too when this script is killed without a chance to.
launch() {
  if has setpriv && setpriv --pdeathsig TERM true 2>/dev/null; then
    setpriv --pdeathsig TERM -- "$@" &
  else
    "$@" &
  fi
  pid=$!
  children+=("$pid")
}

alive() { kill -0 "$1" 2>/dev/null; }

# Asks a process to end, waits for it, and kills it when it takes longer than a drain may.
end() {
  local deadline=$((SECONDS + 10))
  kill -TERM "$1" 2>/dev/null || true
  while alive "$1" && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.05; done
  kill -KILL "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# For `trap finish EXIT`: ends what `launch` started and removes the scratch folder. What was started last
# ends first: nothing loses what it stands on while it still has answers to give.
finish() {
  local i
  trap '' INT TERM HUP
  for ((i = ${#children[@]} - 1; i >= 0; i--)); do end "${children[i]}"; done
  children=()
  [ -z "$scratch" ] || rm -rf "$scratch"
}

# wait_until SECONDS PID COMMAND...: true once the command succeeds; false when the time is up or the
# process has ended.
wait_until() {
  local deadline=$((SECONDS + $1)) process=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    alive "$process" || return 1
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}
