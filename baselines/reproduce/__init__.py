"""The paper's experiments in shape, as one resumable command: `neuromas reproduce`."""
