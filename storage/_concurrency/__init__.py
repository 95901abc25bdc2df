"""Event loops, threads and tasks: where code runs, and how much of it concurrently."""
