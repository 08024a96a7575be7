"""Strings that tokenizers find hard. Used by golden-text.py and parity-text.py."""

FIXED = [
    "", " ", "  ", "   ", "\n", "\n\n", " \n \t\n", "\r\n", "\r", "\t", "\x00", "\x0b\x0c", "a", " a", "a ", "  a  b ",
    "USER: <image>\nWhat is shown in this image? ASSISTANT:", "[INST] <image>\nWhat is shown in this image? [/INST]",
    "It's 12345 don't  we?\n\n  x", "I'LL we'Re 'S 'T 'x' ''s 'ſ \u017f'\u017f x", "e\u0301 vs é", "a\u00a0b\u180ec\u2028d\u3000e",
    "héllo 日本 😀", "👩‍👩‍👧‍👦🏳️‍🌈", "٣٤٥ Ⅷ ½ 一二三 12 345 6789 0", "ﬁ ß ẞ İ ı Å Å Ω", "한국어 \u1112\u1161\u11ab \uc774\u11a7", "नमस्ते ไทย العربية עברית",
    "</s><s><unk>", " <image> <image>", "<image><image>\n", "<|im_start|>user\nhi<|im_end|>\n", "a<s>b</s> c", "▁ ▁▁ a▁b ▁", "<0x0A><0x41>",
    "  two", "a  b   c    d", "x = 1;\n\n\n    y = 2\n", "....!!!???", " ... !!!", "#$%&/()=?¡¿", "\u200b\ufeff\u00ad", "\U0001f600\U000e0001\ue000\U0010ffff",
    "a\u0300\u0316\u0301", "a\u07fd\u0316\u1ac2\u0301\u0334", "\U00011935\U00011930 \U00011938", "\u0344 \u0958 \u2126 \ufb1d \U0001d15e", "don't DON'T dOn'T can't've", "l'été d'accord 'tis 'twas", "\n a\n  b\n\tc \n",
]

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz", "etaoin shrdlu ", "ABC xyz 'sS'tT'rReE'vVeE'mM'lL'dD", "0123456789 ", " \n\r\t", "  \u00a0\u3000\n",
    ".,;:!?'\"()[]{}<>-_/\\|@#$%^&*+=~`", "éèêëàâçñöüßøåæœ", "日本語漢字中文한국어", "абвгдежзийк", "αβγδεζηθ", "ابتثجح", "अआइईउ\u093e\u093f\u0940\u094d",
    "😀😁👍🏽\u200d❤\ufe0f", "\u0300\u0301\u0316\u0327\u0345aeiou", "\u1100\u1161\u11a8가각", "▁ ▁a", "٠١٢①②ⅣⅤ½", "<>image|s/pad0xFA", "\u017f\u212a\u0130\u0131'ts",
]

WORDS = ("the a of and picture shows two three red blue emoji cat dog left right above below beside What How many is are there in this "
         "image? USER: ASSISTANT: Describe scene. I'm you're won't 2024 3.14 1,000,000 https://example.org/a?b=c naïve café Straße "
         "def f(x): return x+1 日本語 привет γειά").split()


def point(rng):
    while True:
        limit = rng.choice([0x80, 0x100, 0x800, 0x3000, 0x10000, 0x20000, 0x110000])
        c = rng.randrange(limit)
        # What no Unicode version assigns alike is left to the versions of the libraries.
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def one(rng, special):
    out = []
    for _ in range(rng.choice([1, 1, 2, 3, 5])):
        kind = rng.randrange(6)
        if kind == 0:
            out.append("".join(point(rng) for _ in range(rng.randrange(12))))
        elif kind == 1:
            out.append(" ".join(rng.choice(WORDS) for _ in range(rng.randrange(10))))
        elif kind == 2 and special:
            out.append(rng.choice(["", " ", "a", "\n"]) + rng.choice(special) + rng.choice(["", " ", "b", "\n", "  "]))
        elif kind == 3:
            out.append(rng.choice(FIXED))
        else:
            alphabet = rng.choice(ALPHABETS) + rng.choice(["", "", " ", rng.choice(ALPHABETS)])
            out.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(20))))
    return "".join(out)


def strings(rng, count, tokenizer):
    special = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    return (FIXED + [one(rng, special) for _ in range(count)])[:count]
