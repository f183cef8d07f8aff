#!/bin/sh
# Prints the revision that is built, as the binary says it: the commit, with a plus where files differ from it.
git -C "$(dirname "$0")/.." describe --always --abbrev=12 --exclude '*' --dirty=+ 2>/dev/null || echo unknown
