"""A release that comes as an archive: fetched, verified, unpacked, ready to run."""
