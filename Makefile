# One-line aliases of dev.py, which works without make too. Arguments: make test ARGS="-k journal"
.PHONY: demo test check bench clean docs
demo test bench clean:
	python3 dev.py $@ $(ARGS)
check:
	python3 dev.py check $(ARGS)
docs:
	python3 dev.py check docs
