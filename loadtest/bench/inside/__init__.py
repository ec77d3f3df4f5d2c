"""What knows the gateway from the inside: the engine's runner, and loading hundreds of thousands
of wallets by the gateway's own code. All else in the load tests is a black box."""
