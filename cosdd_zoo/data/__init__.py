"""Images on disk and in memory, and how training cuts them up."""
