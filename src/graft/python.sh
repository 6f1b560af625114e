# The Python of the project's .venv: here, or in a folder above. `dvc exp run --queue` runs stages in copies of the
# project below .dvc/tmp, where there is no .venv. It becomes that Python, so that no shell stands in between.
folder=$PWD
# Who started this, for as long as Python does not yet look after that itself (graft/core/compat/processes.py).
GRAFT_PARENT=$PPID
export GRAFT_PARENT
until test -x "$folder/.venv/bin/python"; do
    if test "$folder" = / || test -z "$folder"; then
        echo "error: there is no .venv here" >&2
        echo "  where: $PWD" >&2
        echo "  remedy: run \`make install\`" >&2
        exit 1
    fi
    folder=$(dirname "$folder")
done
exec "$folder/.venv/bin/python" "$@"
