#!/usr/bin/env bash
# Fails if an object compiled for one ISA level defines a symbol that other objects may link to and that does not
# belong to that level's namespace: the linker keeps one copy of a weak symbol, and an AVX-512 copy would crash an
# older CPU. Usage: check_isa_symbols.sh OBJECT...
set -u
if [ $# -eq 0 ]; then
  echo "usage: $0 OBJECT..." >&2
  exit 2
fi
bad=0
for object in "$@"; do
  if ! symbols=$(nm -C --defined-only "$object"); then
    echo "$object: nm cannot read it" >&2
    exit 2
  fi
  # DW.ref.*: the address of the unwinder's routine, the same at every level.
  # Letters of local symbols are lower case (t d r b); u, v, w are weak or unique whatever their case.
  shared=$(awk '$2 ~ /^[A-Zuvw]$/ { name = $0; sub(/^[0-9a-f]* *. /, "", name); print $2, name }' <<<"$symbols" |
    grep -vE '^V DW\.ref\.|^[^ ]+ ((typeinfo|typeinfo name|vtable|guard variable) for )?([^(<]* )?reckon::ops::isa_[a-z0-9]+::')
  if [ -n "$shared" ]; then
    echo "$object: symbols outside reckon::ops::isa_*:" >&2
    echo "$shared" >&2
    bad=1
  fi
done
exit $bad
