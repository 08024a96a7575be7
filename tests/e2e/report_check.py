"""A report stands alone: report_check.py FILE.html [TEXT…]. Well-formed as XML and as HTML, nothing
loaded, no script, no NaN in a figure; every TEXT is in what a reader sees."""
import html.parser
import re
import sys
import xml.etree.ElementTree as tree

ELEMENTS = set(
    "html head meta title style body h1 h2 h3 p span div table tr th td figure figcaption svg text line "
    "circle rect path ul li dl dt dd pre b code img details summary mark".split())
ATTRIBUTES = set(
    "lang charset name content class title viewBox role text-anchor x y x1 y1 x2 y2 cx cy r d width height "
    "alt src open".split())
EMPTY = {"meta", "img", "line", "circle", "rect", "path"}


class Balance(html.parser.HTMLParser):
    """What a browser's parser takes as nested is nested as it was meant."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_startendtag(self, tag, attributes):
        assert tag in EMPTY, f"<{tag}/> would not end in HTML"

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> ends another element"


def check(path, wanted):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    page = tree.fromstring(text)
    balance = Balance()
    balance.feed(text)
    balance.close()
    assert not balance.open, f"{balance.open} never end"
    for element in page.iter():
        assert element.tag in ELEMENTS, f"<{element.tag}>"
        for name, value in element.attrib.items():
            assert name in ATTRIBUTES, f"<{element.tag} {name}=…>"
            if name == "src":
                assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/]+=*", value), value[:60]
            if name not in ("title", "class", "alt", "src", "content"):
                assert "nan" not in value.lower() and "inf" not in value.lower(), f"{name}={value}"
    style = page.find("head/style").text
    for word in ("url(", "@import", "expression"):
        assert word not in style, f"the style sheet has {word}"
    seen = " ".join(page.find("body").itertext())
    for words in wanted:
        assert words in seen, f"the report does not say '{words}'"


if __name__ == "__main__":
    check(sys.argv[1], sys.argv[2:])
