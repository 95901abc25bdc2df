"""What every reader and writer of gzip (RFC 1952) needs to know of zlib."""

from __future__ import annotations

__all__ = ["GZIP_WBITS", "MOST_EXPANSION"]

#: The window bits that tell zlib to use a gzip header and trailer: 16, plus a window of 15 bits (zlib manual,
#: deflateInit2).
GZIP_WBITS = 31

#: How many bytes one byte of deflate can stand for: two bits for 258 bytes (RFC 1951, 3.2.5).
MOST_EXPANSION = 1032
