#!/usr/bin/env python3
"""What the documents say of the tree is so: links and paths exist, functions of the map are in the files named beside them, and the number
of golden files is stated once and is right. Needs no build.

usage: docs_test.py"""
import itertools
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent.parent
# Top folders that .gitignore names hold no sources.
tops = [path for path in root.iterdir() if path.is_dir() and not re.fullmatch(r"\..*|build.*|runs|data|packages", path.name)]
listed = [*root.glob("*.*"), *(path for top in tops for path in top.rglob("*") if not any(part.startswith((".", "__")) for part in path.parts[len(root.parts):]))]
tracked = [pathlib.PurePosixPath(path.relative_to(root)) for path in listed if path.is_file()]
folders = {str(parent) for path in tracked for parent in path.parents}
names = {str(path) for path in tracked} | folders
top_names = {top.name for top in tops}
# The READMEs beside golden files name files of the code that made them.
documents = [path for path in tracked if path.suffix == ".md" and not str(path).startswith("tests/reference/")]
COUNTED_IN = "docs/testing.md"
problems = []
checks = 0


def expect(condition, message):
    global checks
    checks += 1
    if not condition:
        problems.append(message)


def with_braces(text):
    """a{b,c}d -> abd, acd"""
    parts = [piece.split(",") for piece in re.split(r"[{}]", text)]
    return ["".join(choice) for choice in itertools.product(*parts)]


def in_tree(pattern):
    pattern = pattern.rstrip("/")
    if "*" in pattern:
        return any(path.match(pattern) for path in tracked)
    return pattern in names


def statements(text):
    """Table rows, list items and paragraphs, each with the number of its first line; wrapped lines are joined."""
    begun, start = [], 0
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if begun and (not line.strip() or re.match(r"\s*(\||[-*] |\d+\. |#)", line)):
            yield start, " ".join(begun)
            begun = []
        if line.strip():
            start = start if begun else number
            begun.append(line.strip())


for document in documents:
    for number, line in statements((root / document).read_text()):
        where = f"{document}:{number}"
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
            if "://" not in target:
                expect((root / document.parent / target).exists(), f"{where}: the link {target} leads nowhere")
        quoted = re.findall(r"`([^`]+)`", line)
        paths = [word for text in quoted for word in text.split() if re.fullmatch(r"[a-z][A-Za-z0-9_.*{},/-]*", word) and word.split("/")[0] in top_names and "/" in word]
        found = []
        for path in paths:
            # A path in capitals is a pattern to fill in, such as tests/fuzz/NAME_fuzz.cpp.
            if re.search(r"[A-Z]{2}", path.replace("README.md", "")):
                continue
            for one in with_braces(path):
                expect(in_tree(one), f"{where}: no {one} in the tree")
                found.append(one)
        for name in re.findall(r"`(?:\w+::)*(\w+)\(\)`", line) if str(document) == "docs/map.md" else []:
            sources = [root / path for path in found if (root / path).is_file()]
            expect(any(re.search(rf"\b{name}\(", source.read_text()) for source in sources), f"{where}: none of the files named beside it has {name}()")
        if str(document) != COUNTED_IN and re.search(r"\d+ golden (files|cases)", line):
            problems.append(f"{where}: the number of golden files belongs in {COUNTED_IN} alone")

golden = sum(1 for path in tracked if str(path).startswith("tests/reference/") and path.suffix in (".safetensors", ".json"))
stated = re.search(r"(\d+) golden files", (root / COUNTED_IN).read_text())
expect(stated is not None, f"{COUNTED_IN} must say how many golden files there are")
if stated:
    expect(int(stated.group(1)) == golden, f"{COUNTED_IN} says {stated.group(1)} golden files, tests/reference holds {golden}")
length = len((root / "README.md").read_text().splitlines())
expect(length <= 110, f"README.md has {length} lines; it is meant to be read in one go (110)")

if problems:
    print("\n".join(problems))
    sys.exit(1)
print(f"documents: {checks} statements about the tree hold, {golden} golden files")
