#!/bin/sh
# Builds, tests and runs: sh packaging/java/run.sh [-Ddjl.version=... -Dpytorch.version=...] package.zip...
# Where Maven Central is not reachable, it says so in one sentence and exits with 0.
options=
while [ "${1#-D}" != "$1" ]; do
    options="$options $1"
    shift
done
log=$(mktemp)
trap 'rm -f "$log"' EXIT
mvn -q -B -f "$(dirname "$0")" $options package org.codehaus.mojo:exec-maven-plugin:java \
    -Dexec.args="$*" >"$log" 2>&1
status=$?
if [ $status -ne 0 ] && grep -q "Could not transfer artifact" "$log"; then
    echo "Maven Central is not reachable, so packages were not run in Java."
    exit 0
fi
cat "$log"
exit $status
