#!/bin/sh
# Stands for a build: puts the release into its directory. `proxyctl deploy` skips it where this commit was built last.
set -e
mkdir -p "$DEPLOY_DIRECTORY"
cp "$(dirname "$0")/app.py" "$DEPLOY_DIRECTORY/app.py"
echo "built $DEPLOY_COMMIT into $DEPLOY_DIRECTORY"
