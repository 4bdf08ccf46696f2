"""Every triple of options: three things that do not go together show in any row that has all three."""

import pytest
from combinations import check_refusals, check_traces, check_works, covering, failures_of

SHARDS = 40  # so that workers share the rows


@pytest.mark.slow
def test_every_triple_is_traced_or_refused_with_a_sentence():
    """Of 1,913 rows, each in about half a second of a core."""
    rows = check_refusals(3)
    assert not failures_of(check_traces, rows)


@pytest.mark.combinations
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_triple_works(shard):
    assert not failures_of(check_works, covering(3)[0][shard::SHARDS])
