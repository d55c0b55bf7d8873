"""A preprocessor of mdBook: links out of the book, such as ../examples/…, become links to the repository."""

import json
import re
import sys

REPOSITORY = "https://github.com/fourmi-proxy/fourmi/blob/main/"
OUT = re.compile(r"\]\(\.\./([^)]+)\)")


def rewrite(items):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            chapter["content"] = OUT.sub(lambda found: f"]({REPOSITORY}{found[1]})", chapter["content"])
            rewrite(chapter["sub_items"])


if sys.argv[1:2] == ["supports"]:
    sys.exit(0)
_context, book = json.load(sys.stdin)
rewrite(book.get("items") or book.get("sections"))
json.dump(book, sys.stdout)
