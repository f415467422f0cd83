"""The bench of the catalog: what counts as growth."""

from tests.bench.catalog import Growth, table


def test_what_takes_more_than_twice_as_long_is_a_miss() -> None:
    flat = Growth("one", {10: [1.0] * 20, 1000: [1.9] * 20})
    steep = Growth("two", {10: [1.0] * 20, 1000: [1.0] * 15 + [2.1] * 5})
    assert list(flat.misses()) == []
    assert list(steep.misses()) == [
        "Catalog, two: 95 % take 2.1 times longer with 1,000 objects than with 10, the bar is 2 times"
    ]
    assert [line.count("|") for line in table([flat, steep])] == [9, 9, 9, 9]
