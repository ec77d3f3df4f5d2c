from fare_rules.links import shortest_distances


def test_a_shortcut_is_shorter_than_the_line():
    links = {("a", "b"): 400, ("b", "c"): 500, ("a", "c"): 700, ("c", "d"): 100}
    distances = shortest_distances(links)
    assert distances["a"] == {"a": 0, "b": 400, "c": 700, "d": 800}
    assert distances["d"]["b"] == 600


def test_stops_that_no_link_joins_have_no_distance():
    assert "c" not in shortest_distances({("a", "b"): 400, ("c", "d"): 500})["a"]
