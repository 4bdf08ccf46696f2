"""Pages that are gathered from the code, so that they cannot rot: rooms, options, papers, measured numbers."""
