"""Prints the notices of everything that is linked into the program: each text once, with what it is for.

    python3 scripts/notices.py >NOTICES

What is linked is what `cargo metadata` says of this machine's target, without build scripts and macros, which run
while the program is compiled, and what the compiler adds: Rust's standard library and the C library.
"""

import collections
import glob
import json
import os
import subprocess
import sys

NAMES = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")
C_LIBRARY = "/usr/share/doc/libc6-dev/copyright"


def printed(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked():
    """The packages, without our own."""
    host = next(line[6:] for line in printed("rustc", "-vV").splitlines() if line.startswith("host: "))
    metadata = json.loads(printed("cargo", "metadata", "--locked", "--format-version=1", "--filter-platform=" + host))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}

    def is_macro(package):
        return any("proc-macro" in target["kind"] for target in package["targets"])

    root = metadata["resolve"]["root"]
    found, todo = set(), [root]
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            name = dependency["pkg"]
            is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_normal and name not in found and not is_macro(packages[name]):
                found.add(name)
                todo.append(name)
    return sorted((packages[name] for name in found), key=lambda package: (package["name"], package["version"]))


def files(directory):
    """Licences and notices anywhere in a package: sources of others may be below it."""
    for path in sorted(glob.glob(directory + "/**", recursive=True)):
        name = os.path.basename(path).upper()
        below = os.path.basename(os.path.dirname(path)).upper() == "LICENSES"
        if os.path.isfile(path) and (name.startswith(NAMES) or below):
            if os.path.splitext(path)[1] not in (".rs", ".c", ".h", ".py", ".sh", ".tmpl"):
                yield path


def main():
    of_text, licences = collections.defaultdict(list), []

    def add(subject, path):
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read().replace("\r\n", "\n").replace("\f", "").strip()
        subjects = of_text[text]
        if text and subject not in subjects:
            subjects.append(subject)

    for package in linked():
        subject = package["name"] + " " + package["version"]
        licence = package["license"] or package["license_file"]
        if not licence:
            sys.exit("notices: " + subject + " has no licence")
        licences.append(subject + ": " + licence)
        for path in files(os.path.dirname(package["manifest_path"])):
            add(subject, path)
    rust = "Rust's standard library " + printed("rustc", "--version").split()[1]
    licences.append(rust + ": MIT OR Apache-2.0")
    if os.path.exists(C_LIBRARY):
        library = "the GNU C Library, linked statically"
        licences.append(library + ": LGPL-2.1-or-later and others; to link the program with another version, build it from its sources")
        add(library, C_LIBRARY)

    print("pgbackrest-keeper contains the following, under these licences:\n")
    print("\n".join(licences))
    for text, subjects in sorted(of_text.items(), key=lambda item: item[1]):
        if text:
            print("\n" + "=" * 80 + "\n" + "\n".join(subjects) + "\n" + "-" * 80 + "\n\n" + text)


main()
