"""Delegations: who is asked for a target, and in which order (§5.6.7)."""

from world import *


@case
def delegated(w):
    w.delegate("targets", "role1", paths=["d/*"])
    w.add("d/x", b"x", "role1")
    w.add("e/y", b"y", "role1")
    w.publish()
    w.init()
    w.refresh(True, 1, 1, 1, 1)
    w.download(True, "d/x")
    w.download(False, "e/y")
    w.download(True, "d/x", "file.txt")
    w.publish("role1", "snapshot", "timestamp")
    w.download(True, "d/x")


@case
def delegated_unchanged_is_not_fetched(w):
    w.delegate("targets", "role1", paths=["d/*"])
    w.add("d/x", b"x", "role1")
    w.publish()
    w.init()
    w.download(True, "d/x")
    del w.files["metadata/1.role1.json"]
    w.download(True, "d/x")
    w.publish("targets", "snapshot", "timestamp")
    del w.files["metadata/1.role1.json"]
    w.download(True, "d/x")


@case
def delegated_in_order(w):
    w.delegate("targets", "first", paths=["d/*"])
    w.delegate("targets", "second", paths=["*/x", "d/y"])
    w.add("d/x", b"of the first", "first")
    w.add("d/x", b"of the second", "second")
    w.add("d/y", b"of the second", "second")
    w.publish()
    w.init()
    w.download(True, "d/x")
    w.download(True, "d/y")


@case
def delegated_depth_first(w):
    w.delegate("targets", "a", paths=["*"])
    w.delegate("targets", "b", paths=["*"])
    w.delegate("a", "c", paths=["*"])
    w.add("x", b"of b", "b")
    w.add("x", b"of c", "c")
    w.publish()
    w.init()
    w.download(True, "x")


@case
def delegator_speaks_first(w):
    w.delegate("targets", "role1", paths=["*"])
    w.add("file.txt", b"of the delegated role", "role1")
    w.docs["targets"]["targets"]["file.txt"] = {"length": 7, "hashes": {"sha256": sha256(b"content")}}
    w.publish()
    w.init()
    w.download(True, "file.txt")


@case
def delegated_path_must_match_all_the_way(w):
    w.delegate("targets", "a", paths=["a/*"])
    w.delegate("a", "b", paths=["*", "b/*", "a/*"])
    w.add("a/x", b"fits", "b")
    w.add("b/x", b"does not", "b")
    w.publish()
    w.init()
    w.download(True, "a/x")
    w.download(False, "b/x")


@case
def terminating(w):
    w.delegate("targets", "first", paths=["*.txt"], terminating=True)
    w.delegate("targets", "second", paths=["*"])
    w.delegate("first", "below", paths=["*"])
    w.add("a.txt", b"second", "second")
    w.add("b.bin", b"second", "second")
    w.add("c.txt", b"below", "below")
    w.publish()
    w.init()
    w.download(False, "a.txt")
    w.download(True, "b.bin")
    w.download(True, "c.txt")


@case
def terminating_below(w):
    w.delegate("targets", "a", paths=["*"])
    w.delegate("targets", "b", paths=["*"])
    w.delegate("a", "c", paths=["*"], terminating=True)
    w.add("x", b"of b", "b")
    w.publish()
    w.init()
    w.download(False, "x")


@case
def terminating_left_out(w):
    w.delegate("targets", "first", paths=["*"])
    del w.docs["targets"]["delegations"]["roles"][0]["terminating"]
    w.add("x", b"x", "first")
    w.publish()
    w.init()
    w.download(True, "x")


def pattern(what, pattern, matching, others):
    def run(w):
        w.delegate("targets", "role1", paths=[pattern])
        for name in [*matching, *others]:
            w.add(name, name.encode(), "role1")
        w.publish()
        w.init()
        for name in matching:
            w.download(True, name)
        for name in others:
            w.download(False, name)
    run.__name__ = f"pattern_{what}"
    case(run)


pattern("star", "*.tgz", ["foo.tgz", ".tgz"], ["targets/foo.tgz", "foo.txt", "foo.tgz.x"])
pattern("star_in_directory", "targets/*.tgz", ["targets/foo.tgz"], ["targets/foo.txt", "foo.tgz", "targets/a/foo.tgz"])
pattern("question_mark", "foo-version-?.tgz", ["foo-version-2.tgz", "foo-version-a.tgz"], ["foo-version-alpha.tgz", "foo-version-.tgz"])
pattern("exact", "foo.tgz", ["foo.tgz"], ["Foo.tgz", "a/foo.tgz"])
pattern("star_alone", "*", ["a", ".hidden"], ["a/b"])
pattern("star_directory", "*/x", ["a/x"], ["x", "a/b/x"])
pattern("two_stars", "a/**", ["a/b"], ["a/b/c"])
pattern("two_stars_between", "**/x", ["a/x"], ["x", "a/b/x"])
pattern("stars_in_a_row", "a**b", ["ab", "axxb"], ["a/b"])
pattern("three_stars", "***", ["a"], ["a/b"])
pattern("set", "foo-[0-9].tgz", ["foo-2.tgz"], ["foo-a.tgz"])
pattern("set_negated", "foo-[!0-9].tgz", ["foo-a.tgz"], ["foo-2.tgz"])
pattern("set_of_bracket", "a[]]b", ["a]b"], ["a[b"])
pattern("set_unclosed", "a[b", ["a[b"], ["ab"])
pattern("braces", "{a,b}.txt", ["{a,b}.txt"], ["a.txt"])
pattern("question_mark_is_no_slash", "a?b", ["axb"], ["a/b"])
pattern("dot", "a.b", ["a.b"], ["axb"])
pattern("unicode", "?.txt", ["é.txt", "😀.txt"], ["éé.txt"])
pattern("leading_slash", "/a", [], ["a"])
pattern("plus_and_dollar", "a+b$", ["a+b$"], ["aab$"])
pattern("backslash", "a\\*", ["a\\x"], ["a*"])
pattern("empty", "", [], ["a"])
pattern("star_many", "*a*b*c*", ["xaxbxcx", "abc"], ["acb"])


@case
def prefixes_of_hashes(w):
    name = "some/file.bin"
    w.delegate("targets", "bin", path_hash_prefixes=[sha256(name.encode())[:3], "0"])
    w.delegate("targets", "other", path_hash_prefixes=["zz"])
    w.add(name, b"in the bin", "bin")
    w.add("else", b"else", "other")
    w.publish()
    w.init()
    w.download(True, name)
    w.download(False, "else")


@case
def prefix_in_capitals(w):
    name = next(f"n{i}" for i in range(99) if sha256(f"n{i}".encode())[0] in "abcdef")
    w.delegate("targets", "bin", path_hash_prefixes=[sha256(name.encode())[:1].upper()])
    w.add(name, b"x", "bin")
    w.publish()
    w.init()
    w.download(False, name)


@case
def prefixes_and_paths(w):
    w.delegate("targets", "role1", paths=["*"], path_hash_prefixes=["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"])
    w.add("x", b"x", "role1")
    w.publish()
    w.init()
    w.download(False, "x")


@case
def neither_prefixes_nor_paths(w):
    w.delegate("targets", "role1")
    w.add("x", b"x", "role1")
    w.publish()
    w.init()
    w.download(False, "x")


@case
def no_paths_match(w):
    w.delegate("targets", "role1", paths=[])
    w.add("x", b"x", "role1")
    w.publish()
    w.init()
    w.download(False, "x")


@case
def circles(w):
    w.delegate("targets", "a", key("circle"), paths=["*"])
    w.delegate("a", "b", key("circle"), paths=["*"])
    w.delegate("b", "a", key("circle"), paths=["*"])
    w.delegate("b", "b", key("circle"), paths=["*"])
    w.add("x", b"x", "b")
    w.publish()
    w.init()
    w.download(True, "x")
    w.download(False, "y")


@case
def long_chain(w):
    parent = "targets"
    for i in range(1, 41):
        w.delegate(parent, f"r{i}", key("chain"), paths=["*"])
        w.add(f"in-{i}", b"x", f"r{i}")
        parent = f"r{i}"
    w.publish()
    w.init()
    for i in (1, 20, 30, 31, 32):
        w.download(True, f"in-{i}")
    for i in (33, 40):
        w.download(False, f"in-{i}")


@case
def wide(w):
    for i in range(1, 41):
        w.delegate("targets", f"r{i}", key("chain"), paths=["*"])
        w.add(f"in-{i}", b"x", f"r{i}")
    w.publish()
    w.init()
    for i in (1, 31, 32):
        w.download(True, f"in-{i}")
    w.download(False, "in-33")
