from fare_rules.links import read_links
from fare_rules.paths import Paths


def test_links_that_are_right_are_kept_beside_those_that_are_wrong(tmp_path):
    path = tmp_path / "links.csv"
    path.write_text("from_stop,to_stop,distance_m\na,b,400\nb,b,1\nb,c,500\n", "utf-8")
    links, faults = read_links(path)
    assert links == {("a", "b"): 400, ("b", "c"): 500}
    assert [fault.line for fault in faults] == [3]


def test_a_shortcut_is_shorter_than_the_line():
    paths = Paths({("a", "b"): 400, ("b", "c"): 500, ("a", "c"): 700, ("c", "d"): 100})
    found = [paths.between("a", stop) for stop in "abcd"]
    assert [path and path.distance_m for path in found] == [0, 400, 700, 800]
    assert paths.stops_on("d", "b") == ("d", "c", "b")


def test_of_two_paths_as_short_the_one_with_fewer_links_is_taken():
    paths = Paths({("a", "b"): 100, ("b", "c"): 100, ("c", "d"): 100, ("a", "d"): 300})
    path = paths.between("a", "d")
    assert path is not None
    assert (path.distance_m, path.links_count) == (300, 1)


def test_stops_that_no_link_joins_have_no_path():
    paths = Paths({("a", "b"): 400, ("c", "d"): 500})
    assert paths.between("a", "c") is None
    assert paths.stops_on("a", "nowhere") == ()
