# What the scripts of the five papers share; they source it.
#   examples/NAME.sh FOLDER [RESULTS] [--phantom]
# FOLDER is the unpacked download. With --phantom a small made-up dataset in its layout is written there
# first, and small networks and few epochs take the place of the paper's; the lines are the same.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { echo "== $*" >&2; }

# begin NAME DATASET "$@": sets raw (the download), out (the results) and phantom (1, or nothing).
begin() {
  name=$1
  local dataset=$2 places=()
  shift 2
  phantom=
  for argument; do
    case $argument in
      --phantom) phantom=1 ;;
      -*) echo "$argument: no such option; usage: examples/$name.sh FOLDER [RESULTS] [--phantom]" >&2; exit 2 ;;
      *) places+=("$argument") ;;
    esac
  done
  if [ ${#places[@]} -lt 1 ] || [ ${#places[@]} -gt 2 ]; then
    echo "usage: examples/$name.sh FOLDER [RESULTS] [--phantom]" >&2
    exit 2
  fi
  raw=${places[0]}
  out=${places[1]:-bccli-$name${phantom:+-phantom}}
  python=$(dirname "$(command -v bccli)")/python
  [ -x "$python" ] || python=python3
  if [ "$phantom" ]; then "$python" "$here/phantom_raw.py" "$dataset" "$raw"; fi
}

# defaults VARIABLE=VALUE…: with --phantom, what the caller has not set already.
defaults() {
  [ "$phantom" ] || return 0
  local pair variable
  for pair; do
    variable=${pair%%=*}
    if [ -z "${!variable+set}" ]; then printf -v "$variable" %s "${pair#*=}"; fi
  done
}

# each OPTION VALUE…: the option before every value.
each() {
  local option=$1 value
  shift
  for value; do printf '%s %s ' "$option" "$value"; done
}

# tables [PATTERN=RUN…]: the paper's tables and figures; with --phantom, runs that stand in for others.
tables() {
  say "tables and figures: the paper, its protocol here, and patients apart"
  local options=()
  if [ "$phantom" ]; then
    options=(--made-up)
    for pair; do options+=(--instead "$pair"); done
  fi
  "$python" "$here/compare.py" "$here/$name.toml" "$out" ${options[@]+"${options[@]}"}
  say "done: $out/tables.md, $out/tables.csv, $out/figures"
}
