# Sourced by the recipes: they run from the project's root, with its environment, on this machine alone.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ ! -x .venv/bin/python ] || PATH=$PWD/.venv/bin:$PATH
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_WAIT_POLICY=passive
stage() { printf '\n== %s\n' "$*"; "$@"; }
