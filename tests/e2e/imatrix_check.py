#!/usr/bin/env python3
"""An importance matrix for llama.cpp against the calibration it was made of.

    imatrix_check.py CALIB MATRIX

Each linear of the text model's blocks is there, under llama.cpp's name, and none besides; sums of squares and
counts are those of the site that the linear reads, over text and picture tokens. Exit 0: all of that.
"""
import os
import struct
import sys

from export_check import floats, read
from gguf_check import decode, read_gguf, single

READERS = {"attn_in": ["attn_q", "attn_k", "attn_v"], "attn_out": ["attn_output"],
           "mlp_in": ["ffn_gate", "ffn_up"], "mlp_out": ["ffn_down"]}


def main(calib, matrix):
    tensors, _ = read(calib)
    keys, found = read_gguf(matrix)
    want = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[:2] != ["statistics", "text"] or parts[-1] != "rms":
            continue
        layer, site = parts[3], parts[4]
        counts = struct.unpack("<2q", tensors[name[:-len("rms")] + "count"][2])
        values, dim = floats(tensor), tensor[1][1]
        assert all(counts), "both kinds of tokens were seen"
        square = [single(values[j] * values[j] * counts[0] + values[dim + j] * values[dim + j] * counts[1])
                  for j in range(dim)]
        for reader in READERS[site]:
            want["blk.%s.%s.weight.in_sum2" % (layer, reader)] = square
            want["blk.%s.%s.weight.counts" % (layer, reader)] = [sum(counts)]
    assert set(want) == set(found), set(want) ^ set(found)
    for name, values in want.items():
        kind, shape, data = found[name]
        assert (kind, shape) == ("F32", [1, len(values)]), name
        assert list(decode(kind, data)) == values, name
        assert max(values) > 0, name
    assert keys == {"general.type": "imatrix", "imatrix.datasets": [os.path.basename(calib)],
                    "imatrix.chunk_count": 1, "imatrix.chunk_size": sum(counts)}, keys


if __name__ == "__main__":
    main(*sys.argv[1:])
