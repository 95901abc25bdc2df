"""`FaultProxy`, which stands between a client and a server, and the protocols that it speaks."""
