"""HTTP/1.1 for the requests to a bucket that this package signs itself."""
