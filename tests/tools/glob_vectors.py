#!/usr/bin/env python3
"""Writes cases/glob.json: which texts each pattern matches, as a running Redis or Valkey server answers it.

Usage: glob_vectors.py [HOST:PORT] > tests/cases/glob.json

Uses database 15 of that server and empties it. The server is asked with KEYS, so it must not be a cluster node, which
narrows some patterns to one slot. Patterns that donjon refuses are listed, not asked.
"""

import json
import random
import socket
import sys

# Where the rules are odd: each line is about one of them.
ODD = [
    *["*", "**", "***", "a*", "*a", "*a*", "a**b", "a*b", "*a*b*", "**a**", "?", "??", "???", "????", "?*", "*?", "*??*", "a?", "?a", "?*?"],
    *["a", "ab", "A", "a:b", "a.b", "a/b", "a\nb", "a\0b", "{a,b}", "!a", "é", "é*", "?é", "*é", "a é", "^a", "a-b", "]", "a]", "-"],
    *["\\", "\\\\", "\\a", "\\*", "\\?", "\\[", "\\]", "\\[a]", "a\\", "a\\\\", "*\\", "\\*a", "a\\*b", "\\^", "\\-", "\\\\*", "\\é", "?\\"],
    *["[", "[^", "[]", "[^]", "[]]", "[]a]", "[^]a]", "[^]]", "x[", "x[^", "x[^a", "x[]", "*[", "[*", "[?", "[a", "[abc", "[^abc", "[a-", "[a-c", "[^a-c", "a["],
    *["[abc]", "[^abc]", "[a-c]", "[c-a]", "[^c-a]", "[a-a]", "[!a]", "[!a-c]", "[a^]", "[^^]", "[^^a]", "[*]", "[?]", "[*?]", "[.]", "[ ]", "[[]", "[a[]", "[[a]", "[[a]]"],
    *["[a-]", "[a-]x", "[a-]]", "[a-]x]", "[-a]", "[--a]", "[a--]", "[-]", "[--]", "[---]", "[^-]", "[^--]", "[a-b-c]", "[a-c-e]", "[]-a]", "[^]-a]", "[^a-]", "[a-]-c]"],
    *["[\\a-z]", "[\\a]", "[\\]]", "[\\]a]", "[\\\\]", "[\\^a]", "[^\\^]", "[^\\]]", "[a\\]", "[a\\-c]", "[a-\\]", "[a-\\]]", "[a-\\]x]", "[\\-a]", "[\\", "[a\\", "[^\\", "[]\\", "[a-z\\"],
    *["[a]*", "*[a]", "[a]?[b]", "*[a-c]*", "[ab]*[ab]", "*[^a]*", "[a][b][c]", "[a-c][^a-c]", "[a]]", "[a]]*", "*[]]*", "[é]", "[é]?", "[^é]", "[aé]*", "[é][é]"],
    *["user:*", "user:*:profile", "user:?:profile", "user:[0-9]:*", "user:[^0-9]*", "*:profile", "*er:*:pro*", "user:\\*:profile", "us?r:*", "[tu]ser:*"],
]  # fmt: skip

TEXTS = [
    *["", "a", "b", "c", "d", "e", "x", "z", "A", "0", "*", "?", "[", "]", "\\", "^", "-", "!", ".", "/", ":", " ", "`", "_"],
    *["é", "éé", "aé", "éa", "a é", "\0", "\n", "a\0b", "a\nb", "aa", "ab", "ba", "bb", "abc", "cab", "aab", "abab", "a:b", "a.b", "a/b", "a-b", "axb"],
    *["a]", "b]", "x]", "]]", "a[", "[a", "[a]", "[]", "[^", "[^a", "x[", "xa", "xb", "x^", "]x", "ax", "\\]", "\\x", "\\x]", "a*", "*a", "a*b", "a?b", "?a", "a\\", "a\\\\", "\\a", "\\\\", "\\*", "^a", "!a", "-a", "a-", "--"],
    *["{a,b}", "user:1:profile", "user:x:profile", "user:*:profile", "user:12:profile", "user:1", "user:", "tser:1", "loser:1:proof"],
]  # fmt: skip

REFUSED = [
    "",
    "[é-z]",
    "[a-é]",
    "x[^é-z]",
    "[é-é]",
    "*a" * 33,
    "a*" * 33 + "b",
    "x" * 1025,
    "[" + "a" * 1024,
    "*a" * 2000,
]


def made_up(count):
    """Patterns of nothing but special bytes, the same ones each time."""
    chance = random.Random(7)
    made = []
    while len(made) < count:
        text = "".join(chance.choice("*?[]\\^-ab") for _ in range(chance.randint(2, 9)))
        if text not in ODD and text not in made:
            made.append(text)
    return made


class Server:
    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.file = socket.create_connection((host, int(port))).makefile("rwb")

    def ask(self, *words):
        parts = [word.encode() for word in words]
        self.file.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
        self.file.flush()
        return self.reply()

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"-":
            raise SystemExit(rest.decode())
        return rest


def main():
    server = Server(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:6379")
    server.ask("SELECT", "15")
    server.ask("FLUSHDB")
    for text in TEXTS:
        server.ask("SET", text, "1")
    place = {text: index for index, text in enumerate(TEXTS)}
    rows = [
        {"pattern": pattern, "matches": sorted(place[text] for text in server.ask("KEYS", pattern))}
        for pattern in ODD + made_up(150)
    ]
    server.ask("FLUSHDB")

    def lines(items):
        return ",\n    ".join(json.dumps(item, ensure_ascii=False) for item in items)

    print('{\n  "about": "which texts (by index) each pattern matches; made by tools/glob_vectors.py",')
    print(f'  "texts": [\n    {lines(TEXTS)}\n  ],')
    print(f'  "patterns": [\n    {lines(rows)}\n  ],')
    print(f'  "refused": [\n    {lines(REFUSED)}\n  ]\n}}')


if __name__ == "__main__":
    main()
