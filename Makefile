# SECONDS, CYCLES and SEED are handed on: make demo SECONDS=60, make torture CYCLES=200 SEED=7, make fuzz SECONDS=600
.PHONY: demo test test-full torture torture-snapshot sweep torture-proof bench fuzz serve build install dist deps deps-build deps-test lint clean

demo: deps
	@deploy/drive.sh demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

test: deps-test
	@.ci/stages.sh

test-full: deps-test
	@.ci/stages.sh full

# Random kills, crashes and cuts, and a table of verdicts; without arguments what CI runs. RESUME=1 adds the run to
# target/torture/report.json (with DELIVERY=at_least_once: report-at-least-once.json); SEED replays one.
torture: deps
	@deploy/drive.sh torture $(if $(CYCLES),--cycles $(CYCLES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(POSTGRES_CYCLES),--postgres-cycles $(POSTGRES_CYCLES)) \
		$(if $(BROKER_CYCLES),--broker-cycles $(BROKER_CYCLES)) $(if $(CUTS),--cuts $(CUTS)) \
		$(if $(DELIVERY),--delivery $(DELIVERY)) $(if $(RESUME),--resume)

# Random kills while a table of ROWS rows is read and written to; RATE: rows that are changed per second.
torture-snapshot: deps
	@deploy/drive.sh torture-snapshot $(if $(ROWS),--rows $(ROWS)) $(if $(KILLS),--kills $(KILLS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(RATE),--rate $(RATE))

# A kill at every failpoint, in both delivery modes or in DELIVERY; ONLY=commit: the points whose name contains it.
# STALL=1: the daemon stands still there while another takes over, and wakes up behind it.
sweep: deps
	@deploy/drive.sh sweep $(if $(DELIVERY),--delivery $(DELIVERY)) $(if $(ONLY),--only $(ONLY)) $(if $(STALL),--stall)

# Every known mistake made on purpose, and found: target/torture/proof.json. ONLY=toast: those whose name contains it.
torture-proof: deps
	@deploy/drive.sh proof $(if $(ONLY),--only $(ONLY))

# Release builds (some minutes each, the first time), as users have them, then all workloads anew, about 40 minutes; each
# leaves its rows in target/bench/report.json. ONLY=tx10,large: these alone, beside what earlier calls have left there;
# RESUME=1: those that are not there yet. QUICK=1: a tenth of everything and one round. PEERS=debezium: beside it as well
# (50 MB to download). REPORT=1: nothing is run, docs/performance.md and its plots are written from the report.
# Each stage alone: cargo bench --bench stages
bench: deps
	cargo bench --bench whole

# Any bytes against all that reads a server, Kafka or files, one after the other or TARGET=wire alone, SECONDS for each,
# from what a real server sent and real files on. Needs cargo-fuzz (cargo install cargo-fuzz --locked); stable Rust is
# enough, the code has no unsafe for a sanitizer to watch.
FUZZ_TARGETS = $(or $(TARGET),$(notdir $(wildcard fuzz/seeds/*)))
fuzz: $(addprefix fuzz-,$(FUZZ_TARGETS))
fuzz-%:
	@mkdir -p fuzz/corpus/$*
	cargo fuzz run --sanitizer none $* fuzz/corpus/$* fuzz/seeds/$* -- \
		-max_total_time=$(or $(SECONDS),300) -timeout=10

# The servers alone, until Ctrl-C.
serve: deps
	@deploy/drive.sh serve

build: deps-build
	cargo build --release

# Into Cargo's bin folder.
install: deps-build
	cargo install --locked --path .

deps-build:
	@deploy/install-deps.sh build

# What a release consists of, in target/dist-files. Needs cargo-cyclonedx (cargo install cargo-cyclonedx --locked).
dist:
	@deploy/dist.sh

deps:
	@deploy/install-deps.sh

deps-test:
	@deploy/install-deps.sh test

lint:
	cargo fmt --check
	cargo clippy --profile ci --features faults --all-targets --test drive -- -D warnings
	cargo clippy --profile ci --lib --bins -- -D warnings

clean:
	cargo clean
