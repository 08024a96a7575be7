#!/usr/bin/env python3
"""Makes the golden files of the caption metrics and of the intervals.

    scripts/golden-captions.py

Needs pycocoevalcap (and a Java runtime, for its PTB tokenizer) and numpy. Reads
tests/golden/captions/tricky.txt, writes the JSON files beside it.
"""
import json
import os
import random

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden", "captions")


def tokenize(captions):
    """A letter between two captions keeps the lexer from seeing a sentence begin with the next."""
    given = {}
    for i, text in enumerate(captions):
        given[2 * i] = [{"caption": text}]
        given[2 * i + 1] = [{"caption": "q"}]
    done = PTBTokenizer().tokenize(given)
    return [done[2 * i][0] for i in range(len(captions))]


def random_caption(rng, words, most):
    return " ".join(rng.choice(words) for _ in range(rng.randint(1, most)))


def corpus(seed, samples, words, most, references, edges):
    rng = random.Random(seed)
    out = []
    for _ in range(samples):
        answers = [random_caption(rng, words, most) for _ in range(rng.randint(1, references))]
        if rng.random() < 0.6:
            hypothesis = rng.choice(answers).split()
            for _ in range(rng.randint(0, 2)):
                hypothesis[rng.randrange(len(hypothesis))] = rng.choice(words)
            hypothesis = " ".join(hypothesis)
        else:
            hypothesis = random_caption(rng, words, most)
        out.append({"hypothesis": hypothesis, "answers": answers})
    return out + edges


def score(samples):
    flat = [s["hypothesis"] for s in samples] + [a for s in samples for a in s["answers"]]
    words = tokenize(flat)
    hypotheses = {i: [words[i]] for i in range(len(samples))}
    references, at = {}, len(samples)
    for i, s in enumerate(samples):
        references[i] = words[at:at + len(s["answers"])]
        at += len(s["answers"])
    bleu, _ = Bleu(4).compute_score(references, hypotheses, verbose=0)
    cider, each = Cider().compute_score(references, hypotheses)
    return {"samples": samples, "bleu": [float(b) for b in bleu], "cider": float(cider),
            "cider_each": [float(c) for c in each]}


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
        return (z ^ z >> 31) % n


def quantities(samples):
    tokens = sum(len(s["nll"]) for s in samples)
    nll = sum(map(sum, (s["nll"] for s in samples)))
    reference = sum(map(sum, (s["reference_nll"] for s in samples)))
    kl = np.array([k for s in samples for k in s["kl"]])
    p99 = np.percentile(kl, 99)
    return {"ppl": float(np.exp(nll / tokens)), "ppl_ratio": float(np.exp((nll - reference) / tokens)),
            "kl.mean": float(kl.mean()), "kl.p95": float(np.percentile(kl, 95)), "kl.p99": float(p99),
            "kl.max": float(kl.max()), "kl.score": float(np.sqrt(kl.mean() * p99))}


def intervals(seed, count):
    rng = np.random.default_rng(7)
    samples = []
    for _ in range(count):
        n = int(rng.integers(1, 9))
        reference = rng.exponential(0.3, n)
        samples.append({
            "nll": np.round(reference + rng.normal(0.01, 0.05, n), 6).tolist(),
            "reference_nll": np.round(reference, 6).tolist(),
            "kl": np.round(rng.lognormal(-7, 2, n), 9).tolist(),
            "top1": [bool(b) for b in rng.random(n) < 0.95]})
    draws = SplitMix64(seed)
    resampled = []
    for _ in range(2000):
        resampled.append(quantities([samples[draws.below(count)] for _ in range(count)]))
    out = {"seed": seed, "samples": samples, "values": quantities(samples), "intervals": {}}
    out["values"]["top1"] = float(np.mean([t for s in samples for t in s["top1"]]))
    for name, key in (("ppl", "ppl_ci95"), ("ppl_ratio", "ppl_ratio_ci95"), ("kl.mean", "kl.ci95"),
                      ("kl.score", "kl.score_ci95")):
        values = [r[name] for r in resampled]
        out["intervals"][key] = [float(np.percentile(values, q)) for q in (2.5, 97.5)]
    return out


def write(name, value):
    with open(os.path.join(FOLDER, name), "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


def main():
    with open(os.path.join(FOLDER, "tricky.txt"), encoding="utf-8") as file:
        tricky = file.read().split("\n")[:-1]
    pieces = sorted({w for line in tricky for w in line.split()})
    captions = tricky + ["a %s dog" % w for w in pieces]
    write("tokens.json", [[c, w] for c, w in zip(captions, tokenize(captions))])

    few = "a the cat dog red blue on of sits".split()
    many = [chr(97 + i) + chr(97 + j) for i in range(12) for j in range(12)]
    edges = [
        {"hypothesis": "", "answers": ["a red cat", "the dog"]},
        {"hypothesis": "...", "answers": ["a cat."]},
        {"hypothesis": "a a a a a a a", "answers": ["a cat on a mat", "a a"]},
        {"hypothesis": "cat", "answers": ["cat"]},
        {"hypothesis": "a cat sits", "answers": ["."]},
        {"hypothesis": "the the the cat", "answers": ["the the", "the the the the"]},
        {"hypothesis": "A Man's dog doesn't bark!", "answers": ["a man 's dog does n't bark", "x"]},
    ]
    write("scores.json", [
        score(corpus(1, 60, few, 12, 5, edges)),
        score(corpus(2, 40, many, 9, 1, [])),
        score(corpus(3, 25, many, 20, 3, edges)),
        score(corpus(4, 1, few, 6, 2, [])),
        score([{"hypothesis": "", "answers": ["a b"]}, {"hypothesis": "", "answers": ["c d"]}]),
        score([{"hypothesis": "x y z w v", "answers": ["a b c d e"]},
               {"hypothesis": "x y", "answers": ["c d e f"]}]),
    ])
    write("intervals.json", intervals(0, 40))


if __name__ == "__main__":
    main()
