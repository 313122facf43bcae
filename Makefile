SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --warn-undefined-variables
.DEFAULT_GOAL := help

PYTHON ?= python3
TESTS ?= tests/unit tests/contract tests/integration tests/e2e tests/chaos tests/simulation
SEEDS ?= 1000
FIRST ?= 1
SEED ?=
ARGS ?=
WHY ?=
# Tests of which many wait rather than compute: more of them side by side than cores.
WORKERS ?= 5

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
STAMP := $(VENV)/.alphapanda-setup
GRPCURL := .tools/bin/grpcurl
PROMETHEUS := .tools/prometheus/usr/bin/prometheus
# Its version is in its name, so that an update builds it again and nothing else does.
JAEGER := .tools/bin/jaeger-$(shell sed -n 's/.*jaegertracing\/jaeger v\([0-9.]*\).*/\1/p' tools/jaeger/go.mod)
PODMAN_COMPOSE := .tools/compose/bin/podman-compose
COMPOSE_SPEC := .tools/bin/compose-spec
PROTOC_GO := .tools/protoc/protoc-gen-go
NODE_MODULES := clients/typescript/node_modules/.installed
KAFKA := .tools/kafka/libs
CLASSES := .tools/kafka/classes.jsa
BASELINE := protos/baseline.binpb
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header

export UV_NO_PROGRESS := 1
# Hundreds of processes import the same files, and workers all tests: compiled each time, they take twice as long.
unexport PYTHONDONTWRITEBYTECODE
export WHY

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)$$/\1|\2/' \
		| while IFS='|' read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done

.PHONY: setup
setup: $(STAMP) ## a virtualenv with the locked dependencies; does nothing when nothing changed

$(UV): requirements/bootstrap.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	touch $@

$(STAMP): requirements/dev.txt pyproject.toml services/alphapanda/__init__.py | $(UV)
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(UV) pip check --quiet --python $(BIN)/python
	touch $@

.PHONY: lock
lock: $(UV) ## lock what pyproject.toml declares, with hashes, into requirements/
	$(UV) $(COMPILE) pyproject.toml --extra embedded --extra zerodha --extra dev --output-file requirements/dev.txt
	$(UV) $(COMPILE) pyproject.toml --extra embedded --constraint requirements/dev.txt --output-file requirements/embedded.txt
	$(UV) $(COMPILE) pyproject.toml --extra zerodha --constraint requirements/dev.txt --output-file requirements/zerodha.txt
	$(UV) $(COMPILE) pyproject.toml --constraint requirements/dev.txt --output-file requirements/runtime.txt
	grep -E '^uv==' requirements/dev.txt | cut -d' ' -f1 \
		| $(UV) $(COMPILE) - --output-file requirements/bootstrap.txt
	grep -E '^(hatchling|uv)==' requirements/dev.txt | cut -d' ' -f1 \
		| $(UV) $(COMPILE) - --constraint requirements/dev.txt --output-file requirements/build.txt
	echo podman-compose==1.6.0 | $(UV) $(COMPILE) - --constraint requirements/dev.txt --output-file requirements/compose.txt

.PHONY: gen
gen: setup $(PROTOC_GO) $(NODE_MODULES) ## generate gen/ (Python, Go, TypeScript) from protos/; same protos, same bytes (needs Go, Node)
	$(BIN)/python tools/generate.py
	rm -rf gen/go/panda gen/typescript/buf gen/typescript/google gen/typescript/panda
	$(BIN)/buf generate --template tools/protoc/go.gen.yaml
	$(BIN)/buf generate --template tools/protoc/typescript.gen.yaml
	$(BIN)/python tools/client_services.py

$(PROTOC_GO): tools/protoc/go.mod tools/protoc/go.sum
	@command -v go >/dev/null || { echo "generating Go needs Go (https://go.dev/dl/)"; exit 1; }
	cd tools/protoc && GOFLAGS=-mod=readonly go build -trimpath -o ../../.tools/protoc/ \
		google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	touch $@

$(NODE_MODULES): clients/typescript/package-lock.json clients/typescript/package.json
	@command -v npm >/dev/null || { echo "TypeScript needs Node 20 or later (https://nodejs.org)"; exit 1; }
	cd clients/typescript && npm ci --silent --no-audit --no-fund
	touch $@

.PHONY: clients
clients: client-go client-typescript client-java client-python ## build and test the clients (needs Go, Node, Java 17, Maven)

.PHONY: clients-trade
clients-trade: clients ## let the clients of all languages trade on one platform, with TLS and without
	$(BIN)/python -m pytest -n 0 tests/clients $(ARGS)

.PHONY: client-go
client-go:
	@command -v go >/dev/null || { echo "the Go client needs Go (https://go.dev/dl/)"; exit 1; }
	cd gen/go && go build ./...
	cd clients/go && test -z "$$(gofmt -l .)" && go vet ./... && go test ./... && go build -o ../../.tools/clients/ ./cmd/...

.PHONY: client-typescript
client-typescript: $(NODE_MODULES)
	cd clients/typescript && npm test --silent

.PHONY: client-java
client-java:
	@command -v javac >/dev/null || { echo "the Java client needs a JDK, 17 or later (https://adoptium.net)"; exit 1; }
	@command -v mvn >/dev/null || { echo "the Java client needs Maven (https://maven.apache.org)"; exit 1; }
	cd clients/java && mvn --batch-mode --quiet package

.PHONY: client-python
client-python: setup
	MYPYPATH=clients/python:gen/python $(BIN)/mypy --package alphapanda_client
	PYTHONPATH=clients/python $(BIN)/python -m pytest --quiet clients/python/tests
	$(UV) build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir .tools/client-python clients/python

.PHONY: log-events
log-events: setup ## the table of all log events, from the source: services/alphapanda/telemetry/EVENTS.md
	$(BIN)/python tools/log_events.py

.PHONY: error-reasons
error-reasons: setup ## the table of all reasons of refusals and failures, with what to do: services/alphapanda/ops/README.md
	$(BIN)/python tools/error_reasons.py

.PHONY: permissions
permissions: setup ## the table of who may call what, from the contract: protos/PERMISSIONS.md
	$(BIN)/python tools/permissions.py

.PHONY: lint
lint: setup ## ruff, mypy --strict, buf lint and format: says what is wrong, changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/buf lint
	$(BIN)/buf format --path protos/panda --diff --exit-code

.PHONY: fmt
fmt: setup ## format Python and protos, and mend what ruff can mend
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/buf format --path protos/panda --write

.PHONY: proto-breaking
proto-breaking: setup ## fail where a proto breaks the accepted contract (protos/baseline.binpb)
	$(BIN)/buf build --path protos/panda --output - \
		| $(BIN)/buf breaking - --against $(BASELINE) --exclude-imports --error-format text

.PHONY: accept-contract
accept-contract: setup ## accept today's protos as the contract: make accept-contract WHY="..."
	$(BIN)/python tools/accept_contract.py --why "$$WHY"

.PHONY: migration
migration: setup ## draft the migration that the declared tables need: make migration WHY="..."
	$(BIN)/python tools/draft_migration.py --why "$$WHY"

.PHONY: grpcurl
grpcurl: $(GRPCURL) ## build grpcurl into .tools/bin (needs Go)

$(GRPCURL): tools/go.mod tools/go.sum
	@command -v go >/dev/null || { echo "grpcurl needs Go (https://go.dev/dl/); \`alphapanda call METHOD JSON\` does without it"; exit 1; }
	cd tools && GOFLAGS=-mod=readonly go build -o ../$@ github.com/fullstorydev/grpcurl/cmd/grpcurl
	touch $@

.PHONY: jaeger
jaeger: $(JAEGER) ## build Jaeger into .tools/bin, once, some minutes (needs Go)

$(JAEGER):
	@command -v go >/dev/null || { echo "Jaeger needs Go (https://go.dev/dl/)"; exit 1; }
	@echo "building Jaeger from source, once: about 17 minutes of processor time"
	cd tools/jaeger && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go build -trimpath -ldflags "-s -w" \
		-o ../../$@ github.com/jaegertracing/jaeger/cmd/jaeger

.PHONY: prometheus
prometheus: $(PROMETHEUS) ## fetch Prometheus and promtool, Debian's package, into .tools/prometheus; nothing is installed

$(PROMETHEUS):
	@command -v apt-get >/dev/null && command -v dpkg >/dev/null || { echo "Prometheus comes from Debian's package; elsewhere put prometheus and promtool (https://prometheus.io/download) on the PATH"; exit 1; }
	rm -rf .tools/prometheus && mkdir -p .tools/prometheus
	cd .tools/prometheus && apt-get download --quiet --quiet prometheus && dpkg --extract prometheus_*.deb . && rm prometheus_*.deb

.PHONY: dashboards
dashboards: setup ## write the Grafana dashboards of deploy/observability from tools/dashboards.py
	$(BIN)/python tools/dashboards.py

.PHONY: k8s-manifests
k8s-manifests: setup ## write the network policies, Kafka topics and users, routes and alerts of deploy/k8s from the contract and the code
	$(BIN)/python tools/k8s_manifests.py

.PHONY: observability-check
observability-check: setup ## rules, alerts and dashboards on the real promtool and Prometheus, scraping a platform to which everything happens
	@$(MAKE) --no-print-directory prometheus || echo "going on without Prometheus: its tests are skipped, and fail under CI=true"
	$(BIN)/python -m pytest tests/unit/test_observability.py tests/observability $(ARGS)

# What to build on, pinned by digest: make image BASE=python:3.11-slim-bookworm@sha256:… . Without it the base is made here.
BASE ?=
REQUIREMENTS ?= runtime
PRESENT := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' services/alphapanda/__init__.py)
IMAGE ?= localhost/alphapanda:$(PRESENT)

.PHONY: image
image: ## the container image, with docker, podman or buildah: make image [BASE=NAME@sha256:…] [REQUIREMENTS=zerodha]
	$(PYTHON) tools/image.py --base "$(BASE)" --requirements $(REQUIREMENTS) --tag $(IMAGE)

.PHONY: image-check
image-check: setup kafka jaeger prometheus $(PODMAN_COMPOSE) $(COMPOSE_SPEC) ## every service started from the image, and all of deploy/compose; both trade (needs podman, Go, Java, Maven)
	TEST_IMAGE=$(IMAGE) $(BIN)/python -m pytest tests/image $(ARGS)

# In an environment of its own: no part of ours needs it.
$(PODMAN_COMPOSE): requirements/compose.txt | setup
	$(UV) venv --quiet --clear --python $(BIN)/python .tools/compose
	$(UV) pip sync --quiet --require-hashes --python .tools/compose/bin/python $<
	touch $@

$(COMPOSE_SPEC): tools/compose/go.mod tools/compose/go.sum
	@command -v go >/dev/null || { echo "checking deploy/compose needs Go (https://go.dev/dl/)"; exit 1; }
	cd tools/compose && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -o ../../$@ github.com/compose-spec/compose-go/v2/cmd
	touch $@

VERSION ?=

.PHONY: release
release: setup ## all files of a version, with notes and checksums, into dist/: make release VERSION=0.2.0 [ARGS="--parts python contract"]
	$(BIN)/python tools/release.py "$(VERSION)" $(ARGS)

.PHONY: release-check
release-check: setup ## make this version's files and use each as who has nothing else: the wheel alone trades (needs Go, Node, Java, Maven)
	$(BIN)/python tools/release.py $(PRESENT) --to .tools/release
	TEST_RELEASE=$(CURDIR)/.tools/release $(BIN)/python -m pytest -n 0 tests/release $(ARGS)

# What tools/k8s pins: a folder of Kubernetes' programs, kwok and cyclonus, each with its version in its name.
KUBERNETES_VERSION := $(shell sed -n 's/.*k8s.io\/kubernetes v\([0-9.]*\).*/\1/p' tools/k8s/go.mod)
KUBERNETES := .tools/k8s/$(KUBERNETES_VERSION)
KWOK := .tools/k8s/kwok-$(shell sed -n 's/.*sigs.k8s.io\/kwok v\([0-9.]*\).*/\1/p' tools/k8s/kwok/go.mod)
CYCLONUS := .tools/k8s/cyclonus-$(shell sed -n 's/.*mattfenwick\/cyclonus v\([0-9.]*\).*/\1/p' tools/k8s/cyclonus/go.mod)
DEFINITIONS := .tools/k8s/crds/.made
VERSION_STAMP := k8s.io/component-base/version
# Without it the server calls itself v0.0.0, and "latest" rules of pods would be of no version.
STAMPED := -s -w -X $(VERSION_STAMP).gitVersion=v$(KUBERNETES_VERSION) -X $(VERSION_STAMP).gitTreeState=clean \
	-X $(VERSION_STAMP).gitMajor=$(word 1,$(subst ., ,$(KUBERNETES_VERSION))) \
	-X $(VERSION_STAMP).gitMinor=$(word 2,$(subst ., ,$(KUBERNETES_VERSION)))

.PHONY: k8s-tools
k8s-tools: $(KUBERNETES)/kubectl $(KWOK) $(CYCLONUS) $(DEFINITIONS) ## build a Kubernetes control plane into .tools/k8s, once, some minutes (needs Go, Java 17, Maven)

$(KUBERNETES)/kubectl:
	@command -v go >/dev/null || { echo "Kubernetes needs Go (https://go.dev/dl/)"; exit 1; }
	@echo "building Kubernetes from source, once: about 17 minutes of processor time"
	mkdir -p $(@D)
	cd tools/k8s && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go build -trimpath -ldflags "$(STAMPED)" -o ../../$(@D)/etcd \
		go.etcd.io/etcd/server/v3
	cd tools/k8s && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go build -trimpath -ldflags "$(STAMPED)" -o ../../$(@D)/ \
		$(foreach name,kube-apiserver kube-controller-manager kube-scheduler kubectl,k8s.io/kubernetes/cmd/$(name))

$(KWOK):
	@command -v go >/dev/null || { echo "kwok needs Go (https://go.dev/dl/)"; exit 1; }
	cd tools/k8s/kwok && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go build -trimpath -ldflags "-s -w" -o ../../../$@ \
		sigs.k8s.io/kwok/cmd/kwok

$(CYCLONUS):
	@command -v go >/dev/null || { echo "cyclonus needs Go (https://go.dev/dl/)"; exit 1; }
	cd tools/k8s/cyclonus && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go build -trimpath -ldflags "-s -w" -o ../../../$@ \
		github.com/mattfenwick/cyclonus/cmd/cyclonus

$(DEFINITIONS): tools/k8s/definitions.toml tools/k8s/strimzi/pom.xml tools/k8s/kwok/go.mod tools/k8s/fetch_definitions.py | $(KUBERNETES)/kubectl
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo "Strimzi's definitions need Java 17 or later (https://adoptium.net) and Maven (https://maven.apache.org) on the PATH"; exit 1; }
	$(PYTHON) tools/k8s/fetch_definitions.py .tools/k8s $(KUBERNETES)/kubectl
	touch $@

.PHONY: cyclonus
cyclonus: $(CYCLONUS) ## build cyclonus, which evaluates NetworkPolicies, into .tools/k8s (needs Go)

.PHONY: k8s-check
k8s-check: k8s-pods-check k8s-cluster-check ## all that is proven of deploy/k8s: on the built image, and on a real control plane (needs podman, kubectl, Go, Java 17, Maven)

.PHONY: k8s-pods-check
k8s-pods-check: setup kafka jaeger cyclonus ## deploy/k8s: settings, probes, policies pod by pod, and its pods on the image that `make image` built (needs podman, kubectl)
	TEST_IMAGE=$(IMAGE) $(BIN)/python -m pytest -n 0 tests/k8s $(ARGS)

.PHONY: k8s-cluster-check
k8s-cluster-check: setup k8s-tools ## deploy/k8s on a real control plane with simulated nodes: applied, started, rolled, drained (needs Go, Java 17, Maven)
	$(BIN)/python -m pytest -n 0 tests/control_plane $(ARGS)

.PHONY: kafka
kafka: $(CLASSES) ## fetch Apache Kafka's jars into .tools/kafka (needs Java 17 and Maven)

$(KAFKA)/.fetched: tools/kafka/pom.xml
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo "Kafka needs Java 17 or later (https://adoptium.net) and Maven (https://maven.apache.org) on the PATH"; exit 1; }
	rm -rf $(KAFKA)
	mvn --batch-mode --quiet --file tools/kafka/pom.xml dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(KAFKA)
	touch $@

# So each start takes half the processor time; without it Kafka starts all the same.
$(CLASSES): tools/kafka/archive.py $(KAFKA)/.fetched
	$(PYTHON) tools/kafka/archive.py || touch $@

# Chosen tests run in one process, where -x, --pdb and print do as they should.
SIDE_BY_SIDE = $(if $(filter file,$(origin TESTS)),--numprocesses $(WORKERS))

.PHONY: test
test: setup ## every test but the benchmarks, WORKERS=5 side by side; chosen ones one by one: make test [TESTS=tests/unit] [ARGS="-k order"]
	@$(MAKE) --no-print-directory grpcurl || echo "going on without grpcurl: its tests are skipped, and fail under CI=true"
	@$(MAKE) --no-print-directory kafka || echo "going on without Kafka: its tests are skipped, and fail under CI=true"
	@$(MAKE) --no-print-directory jaeger || echo "going on without Jaeger: its tests are skipped, and fail under CI=true"
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(wildcard $(TESTS)) $(ARGS)

.PHONY: test-dates
test-dates: setup ## the tests at other dates and in another zone: make test-dates [ARGS="--short", ARGS="--only Sunday tests/unit"]
	@$(MAKE) --no-print-directory kafka || echo "going on without Kafka: its tests are skipped, and fail under CI=true"
	$(BIN)/python tools/test_dates.py --workers $(WORKERS) $(ARGS)

.PHONY: coverage
coverage: setup ## the tests, and which lines and branches they reach, as text, XML and htmlcov/index.html
	@$(MAKE) --no-print-directory test ARGS="--cov --cov-report=term --cov-report=xml --cov-report=html $(ARGS)"

.PHONY: run
run: setup ## trade on paper now: `alphapanda up --demo` [ARGS="--port 50052"]
	$(BIN)/alphapanda up --demo $(ARGS)

.PHONY: mesh
mesh: setup kafka ## every service a process of its own on real Kafka, PostgreSQL and Redis (Java 17, Maven): make mesh [ARGS=--secure]
	$(BIN)/python tools/mesh.py $(ARGS)

.PHONY: kite-stub
kite-stub: setup ## a stub of Zerodha's Kite Connect on 127.0.0.1:8765, with a market: make kite-stub [ARGS="--feed replay:F", ARGS=--help]
	$(BIN)/python -m tests.kite_exchange $(ARGS)

.PHONY: trace-demo
trace-demo: setup jaeger ## one order's trace in a real Jaeger, from tick to ledger; ARGS=--mesh: every service a process, on Kafka
	$(if $(findstring --mesh,$(ARGS)),@$(MAKE) --no-print-directory kafka)
	$(BIN)/python tools/jaeger/trace_demo.py $(ARGS)

.PHONY: simulate
simulate: setup ## every service in one thread, faults at every step: make simulate SEEDS=10000 [FIRST=…], SEED=7 for one story
	$(BIN)/python -m tests.simulation --first $(FIRST) --seeds $(SEEDS) $(if $(SEED),--seed $(SEED))

.PHONY: night
night: setup kafka ## a hundred faults of every kind under the demo and under the mesh, an hour: make night [ARGS="--faults 20 demo"]
	$(BIN)/python tests/chaos/night.py $(ARGS)

.PHONY: soak
soak: setup ## an hour of many orders with kills: memory, descriptors, lag and rows must not grow: make soak [ARGS="--minutes 10"]
	$(BIN)/python tests/chaos/soak.py $(ARGS)

.PHONY: chaos
chaos: setup kafka ## kill, freeze and cut off the mesh in full, an hour or more: make chaos [ARGS="--size moderate R1 R5"]
	$(BIN)/python tests/chaos/full.py $(ARGS)

.PHONY: hostile
hostile: setup ## flood a platform with 500 calls at once for a minute, and measure kill switch and reads: make hostile [ARGS="--seed 7"]
	$(BIN)/python tests/e2e/under_flood.py $(ARGS)

.PHONY: fuzz
fuzz: setup ## a million random calls of every RPC, in half an hour or more: make fuzz [ARGS="--calls 20000 --seed 7"]
	$(BIN)/python tests/e2e/fuzz.py $(ARGS)

.PHONY: bench
bench: setup ## measure in small: make bench [ARGS="P6 --full --keep"]; against others after `make bench-peers`
	$(BIN)/python -m tests.bench $(ARGS)

# They need a later Python than ours, but for backtrader, which runs on the same.
PEER_PYTHON ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python3.12) python3.12)

.PHONY: bench-peers
bench-peers: $(patsubst %,.tools/bench/%/.installed,nautilus_trader backtrader vectorbt vnpy) ## other backtesters to measure against, each in an environment of its own

.tools/bench/backtrader/.installed .tools/bench/vectorbt/.installed: PEER_PYTHON = $(BIN)/python
.tools/bench/%/.installed: tools/bench/%.txt | setup
	$(UV) venv --quiet --clear --python $(PEER_PYTHON) $(@D)
	$(UV) pip sync --quiet --compile-bytecode --python $(@D)/bin/python $<
	touch $@

.PHONY: secrets-scan
secrets-scan: setup ## fail where a tracked file holds something that looks like a secret
	@! git ls-files | grep -E '(^|/)\.env($$|\.)' | grep -vE '\.env\.example$$' || { echo "a .env is tracked"; exit 1; }
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --no-verify --plugin tools/kite_secrets.py \
		--exclude-lines 'secretName: "?[a-z-]+"?($$|[,}])|secretKey: "?[a-z-]+"?$$|[sS]ecret(AccessKey)?: \{name: ' \
		--exclude-files '^(gen|requirements)/|^tools/(go\.sum|kite_secrets\.py)$$|^clients/typescript/package-lock\.json$$|^tools/[a-z]*/go\.sum$$|(^|/)go\.sum$$|^tests/e2e/true_bars/(pnl|signals)\.json$$'
	@echo "no secrets in $$(git ls-files | wc -l) tracked files"

.PHONY: clean
clean: ## remove what the targets above made, the virtualenv too; no data
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage coverage.xml htmlcov dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
