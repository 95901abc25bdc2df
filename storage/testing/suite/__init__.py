"""The conformance suite: each module tests one part of the contract, and `conformance` joins them."""
