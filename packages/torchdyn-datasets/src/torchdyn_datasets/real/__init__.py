"""Data that were measured or published as files: read from a local folder, a cache, or their public source."""
