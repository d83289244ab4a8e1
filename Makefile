.PHONY: bench budget

# What a request costs beside nginx and haproxy; ARGS="--quick" for a minute instead of eight.
bench:
	swift build -c release --static-swift-stdlib --product proxyd
	Benchmarks/compare $(ARGS)

# What a request costs in counts; fails on a rise over Benchmarks/budgets.json.
budget:
	swift build -c release --static-swift-stdlib --product proxyd
	Benchmarks/budget $(ARGS)
