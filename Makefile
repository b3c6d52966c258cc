# Two commands matter: `make demo` and `make test`. Each says what is missing when it cannot go on.
# What a command builds or installs goes to target/ and .tools/, both ignored by git; `make clean` removes them.

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench bench-js bench-store hit-ratio miri torture soak coverage mutants docs clean

help: ## list these commands
	@sed -n 's/^\([a-z-]*\): ## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## build donjon and serve the guide's application on 127.0.0.1 (DOCS=folder PORT=8000)
	@tools/demo.sh

test: ## check formats, lints and types, then run every test of every runtime
	@tools/test.sh

lint: ## check formats, lints and types only
	@tools/lint.sh

bench: ## time Python in memory, Python and Rust over Redis, beside what else there is (ROUNDS=15)
	@tools/bench.sh

bench-js: ## time JavaScript in memory and over Redis, beside what else there is (ROUNDS=15 KEYS=1000)
	@tools/bench-js.sh

torture: ## put donjon and its peers under the faults that caches ship with, and write docs/torture.md
	@tools/torture.sh

soak: ## have all languages at work on one Redis while it fails, and write docs/soak.md (MINUTES=10)
	@tools/soak.sh

coverage: ## measure which lines the tests run in each language, and write docs/coverage.md
	@tools/coverage.sh

mutants: ## break what the core decides, see whether its tests notice, and write docs/mutants.md (JOBS=1)
	@tools/mutants.sh

docs: ## build the documentation as a site, in target/site
	@tools/docs.sh

bench-store: ## time the memory store in Rust beside other caches, and weigh its entries (ROUNDS=3)
	@tools/bench-store.sh

hit-ratio: ## replay recorded requests through the memory store and other caches (TRACES=folder)
	@tools/hit-ratio.sh

miri: ## run tests of the memory store under Miri (needs a nightly Rust with it)
	@tools/miri.sh

clean: ## remove what the other commands built, installed and stored
	@tools/clean.sh

# What these scripts read from the command line.
export DOCS PORT ROUNDS KEYS PYTHON TRACES MINUTES JOBS
