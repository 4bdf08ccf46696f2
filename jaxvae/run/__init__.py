"""The shell: data, the training run, checkpoints, logs, figures and command lines. It holds no mathematics."""


class RunError(ValueError):
    """An expected failure: its text is one sentence that says what is wrong and what to do."""
