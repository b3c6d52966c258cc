#!/usr/bin/env bash
# Builds the site of docs/; a page that is in no menu or a link to a heading that is not there ends it.
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

need_python

step "what builds it, in .tools/docs" venv docs tools/requirements-docs.txt
step "the site, in target/site" env NO_MKDOCS_2_WARNING=1 .tools/docs/bin/python -m mkdocs build --quiet --strict
summary "open target/site/index.html"
