"""Cuts a folder's safetensors files off behind their headers: cut_shards.py FOLDER"""
import os
import struct
import sys

for name in os.listdir(sys.argv[1]):
    if name.endswith(".safetensors"):
        with open(os.path.join(sys.argv[1], name), "r+b") as file:
            file.truncate(8 + struct.unpack("<Q", file.read(8))[0])
