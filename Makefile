# `make run` starts the example proxy, `make test` runs every test. Everything is built below .build*, nothing is installed
# but Debian packages that are missing.
.PHONY: run release packages test-packages test unit end-to-end test-asan fuzz scan bench bench-switch bench-releases budget format clean

JOBS ?= 2
# What building needs, and what tests and benchmarks run beside proxyd.
PACKAGES = build-essential pkg-config libnghttp2-dev libpcre2-dev libssl-dev zlib1g-dev
TEST_PACKAGES = $(PACKAGES) nginx-light haproxy curl openssl wrk nghttp2-client valgrind strace python3 procps util-linux

CHECKED = -j $(JOBS) --explicit-target-dependency-import-check error
RELEASE = -c release --static-swift-stdlib --omit-frame-pointers -Xswiftc -enforce-exclusivity=unchecked $(CHECKED)
PROXYD = .build/release/proxyd
PROXYCTL = .build/release/proxyctl

# The proxy of conf/demo.conf in the foreground; Control-C stops it. CONF=conf/other.conf for another one.
CONF ?= conf/demo.conf
run: release
	@$(PROXYD) -t -q -p . -c $(CONF)
	@echo
	@echo "Starting proxyd with $(CONF). In another shell, try:"
	@echo "    curl http://127.0.0.1:8080/                       # through the proxy: blue answers"
	@echo "    $(PROXYCTL) switch green --wait     # now green, with a receipt"
	@echo "    $(PROXYCTL) undo                    # and back"
	@echo "    $(PROXYCTL) status"
	@echo "    $(PROXYD) -p . -c $(CONF) -s reload   # after an edit of $(CONF)"
	@echo "    $(PROXYD) -p . -c $(CONF) -s quit     # finish what is in flight, then stop"
	@echo
	@exec $(PROXYD) -p . -c $(CONF)

release: packages
	swift build $(RELEASE) --product proxyd
	swift build $(RELEASE) --product proxyctl

packages:
	@.ci/packages $(PACKAGES)

test-packages:
	@.ci/packages $(TEST_PACKAGES)

# One release build, one debug build, one set of fuzzers.
test: test-packages release unit end-to-end
	Tests/Fuzz/run 5
	Benchmarks/budget

# Everything that needs no proxyd of its own.
unit: packages
	swift build --build-tests $(CHECKED)
	Tests/run --skip EndToEndTests

# The release build, driven over real sockets. Tests in which the proxy judges how quick and how steady applications are come
# after the others: beside three hundred proxies no application is either.
DRIVEN = SWITCHBACK_PROXY=$(CURDIR)/$(PROXYD) SWITCHBACK_PROXYCTL=$(CURDIR)/$(PROXYCTL)
JUDGED = EndToEndTests\.(Rollout|Deploy|Failover)
end-to-end: test-packages release
	swift build --build-tests $(CHECKED)
	$(DRIVEN) Tests/run --filter EndToEndTests --skip '$(JUDGED)'
	$(DRIVEN) Tests/run --filter '$(JUDGED)'

# The unit tests under the address sanitizer, in a build of their own. Leaks are not looked for: the test library has some.
test-asan: packages
	ASAN_OPTIONS=detect_leaks=0 swift test --disable-xctest --sanitize address --scratch-path .build-asan $(CHECKED) --skip EndToEndTests --skip TidyTests

# Every fuzz target for a while: make fuzz SECONDS=600 TARGETS=RequestHeadFuzz
SECONDS ?= 60
fuzz: packages
	Tests/Fuzz/run $(SECONDS) $(TARGETS)

# Debian's testssl.sh against TLS as it comes: nothing above LOW. Some minutes.
scan: test-packages release
	@.ci/packages testssl.sh
	Tests/Scan/run $(PROXYD)

# What a request costs beside nginx and haproxy; ARGS=--quick for two minutes instead of fourteen.
bench: test-packages release
	Benchmarks/compare $(ARGS)

# How long a switch takes and what the traffic notices, beside nginx and haproxy; fails on a lost request. One minute.
bench-switch: test-packages release
	swift build $(RELEASE) --package-path Benchmarks --scratch-path .build-switch
	Benchmarks/switch $(ARGS)

# Who sees a bad release, and how soon it is taken back; fails on a lost request of a good one. Five minutes, ARGS=--quick for less.
bench-releases: test-packages release
	Benchmarks/releases $(ARGS)

# What a request costs in counts; fails on a rise over Benchmarks/budgets.json.
budget: test-packages release
	Benchmarks/budget $(ARGS)

format:
	swift format --in-place --recursive --parallel Package.swift Sources Tests

clean:
	rm -rf .build .build-asan .build-fuzz .build-switch
