#!/usr/bin/env python3
"""Writes the text seeds of the fuzz targets, tests/fuzz/corpus/NAME/*: from the demo model, the golden
files and the pieces below. Inputs that once showed a fault lie beside them under other names and stay.

Usage: scripts/fuzz-corpus.py
"""
import json
import os
import struct

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
CORPUS = os.path.join(ROOT, "tests/fuzz/corpus")
BREAK = "\f"  # between the texts of one input


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def write(target, seeds):
    folder = os.path.join(CORPUS, target)
    os.makedirs(folder, exist_ok=True)
    for i, seed in enumerate(seeds):
        with open(os.path.join(folder, f"seed-{i:02}"), "wb") as file:
            file.write(seed if isinstance(seed, bytes) else seed.encode("utf-8", "surrogatepass"))


def templates():
    """Golden templates, each with something that those before lack."""
    seen = set()
    for row in json.loads(read("tests/golden/text/templates.json")):
        words = set(row["template"].replace("(", " ").replace("|", " ").replace(".", " ").split())
        if len(words - seen) > 2:
            seen |= words
            yield row["template"] + BREAK + "What is this?"


CONFIGS = [
    read("demo/model/config.json") + BREAK + read("demo/model/generation_config.json"),
    '{"model_type":"llava_next","image_token_index":4,"image_grid_pinpoints":[[16,32],[32,16]],"vision_feature_layer":[-2,-1],'
    '"vision_feature_select_strategy":"full","text_config":{"model_type":"mistral","hidden_size":64,"num_attention_heads":4,'
    '"sliding_window":16,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1,"high_freq_factor":4,'
    '"original_max_position_embeddings":32}},"vision_config":{"hidden_size":32,"num_attention_heads":4,"image_size":16,"patch_size":8}}'
    + BREAK + '{"eos_token_id":[2,3]}',
    '{"model_type":"llava","image_token_index":4,"tie_word_embeddings":true,"projector_hidden_act":"gelu","eos_token_id":2,'
    '"text_config":{"model_type":"qwen2","rope_theta":1e6,"rms_norm_eps":1e-6,"use_sliding_window":true,"max_window_layers":1,'
    '"layer_types":["full_attention","sliding_attention"],"num_hidden_layers":2},"vision_config":{"model_type":"clip_vision_model"}}',
]

PROCESSORS = [read("demo/model/preprocessor_config.json"), read("demo/model/processor_config.json")] + [
    read(f"tests/golden/images/{name}.json") for name in ("clip", "clip-bounded", "clip-uncropped", "clip-raw")] + [
    '{"image_processor_type":"LlavaNextImageProcessor","image_grid_pinpoints":[[28,14],[14,28]],"size":{"shortest_edge":14},'
    '"crop_size":{"height":14,"width":14}}',
    '{"image_processor":{"image_processor_type":"SiglipImageProcessor","size":{"height":8,"width":6},"resample":2},"patch_size":2,'
    '"vision_feature_select_strategy":"default","num_additional_image_tokens":1,"image_token":"<image>"}',
]


def tokenizer(normalizer="null", pre="null", decoder="null", post="null", model="", added="[]", config="", text="ab <x> abba\n"):
    model = model or '"vocab":{"<unk>":0,"a":1,"b":2,"ab":3,"\\u2581":4,"<x>":5,"\\u2581ab":6},"merges":["a b","\\u2581 ab"],"unk_token":"<unk>"'
    return (f'{{"version":"1.0","added_tokens":{added},"normalizer":{normalizer},"pre_tokenizer":{pre},"post_processor":{post},'
            f'"decoder":{decoder},"model":{{"type":"BPE",{model}}}}}' + BREAK + config + BREAK + text)


TOKENIZERS = [
    tokenizer('{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"\\u2581"},{"type":"Replace","pattern":{"String":" "},'
              '"content":"\\u2581"}]}',
              decoder='{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"\\u2581"},"content":" "},'
              '{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}',
              post='{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<x>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],'
              '"pair":[],"special_tokens":{"<x>":{"id":"<x>","ids":[5],"tokens":["<x>"]}}}',
              added='[{"id":5,"content":"<x>","special":true,"lstrip":true,"rstrip":true,"single_word":false}]',
              config='{"eos_token":"<x>","bos_token":{"content":"<x>"},"additional_special_tokens":["ab"]}'),
    tokenizer('{"type":"NFC"}', '{"type":"ByteLevel","add_prefix_space":true,"use_regex":true}', '{"type":"ByteLevel"}',
              '{"type":"ByteLevel"}', text="a\u0301b \u00e9 12 'll"),
    tokenizer(pre='{"type":"Metaspace","replacement":"\\u2581","prepend_scheme":"first","split":true}',
              decoder='{"type":"Metaspace","replacement":"\\u2581","prepend_scheme":"first"}'),
    tokenizer(pre='{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Whitespace"},'
              '{"type":"Digits","individual_digits":true},{"type":"Split","pattern":{"String":"b"},"behavior":"MergedWithNext","invert":false}]}',
              config='{"added_tokens_decoder":{"7":{"content":"new","normalized":true}}}', text="ab1 2new b"),
    tokenizer(model='"vocab":{"<unk>":0,"<0x61>":1,"<0x62>":2,"<0xC3>":3,"<0xA9>":4},"merges":[],"byte_fallback":true,"fuse_unk":true,'
              '"ignore_merges":true,"unk_token":"<unk>"', decoder='{"type":"ByteFallback"}', text="ab\u00e9 zz"),
]

def field(number, content):
    """Of a protobuf: bytes, or a number, or a score."""
    def varint(n):
        return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])
    if isinstance(content, bytes):
        return varint(number << 3 | 2) + varint(len(content)) + content
    if isinstance(content, float):
        return varint(number << 3 | 5) + struct.pack("<f", content)
    return varint(number << 3) + varint(content)


def sentencepiece(*pieces, config="", trainer=b"", normalizer=b""):
    rows = [("<unk>", 2), ("<s>", 3), ("</s>", 3), *((p, 1) for p in pieces)]
    return (config.encode() + b"\f" + b"".join(field(1, field(1, text.encode()) + field(2, -float(i)) + field(3, kind))
                                              for i, (text, kind) in enumerate(rows))
            + field(2, field(3, 2) + trainer) + field(3, field(4, 0) + normalizer) + field(9, 1) + field(10, b"skipped"))


SENTENCEPIECES = [
    sentencepiece("ab", "\u2581a", "\u2581ab", "\u2581", "a", "b", "\u00e9"),
    sentencepiece("ab", "a", "b", trainer=field(35, 1) + field(40, 0), normalizer=field(3, 0)),
    sentencepiece("ab", "\u2581", "a", "b", config='{"bos_token":{"content":"<s>"},"add_eos_token":true,"added_tokens_decoder":{"3":{"content":'
                  '"<x>","lstrip":true,"special":true},"9":{"content":"new"}}}'),
    sentencepiece("a", "aa", "aaa", config='{"added":{"<im>":6,"aa":7},"special":{"eos_token":"<im>","pad_token":"<unk>"},"bos_token":null}'),
]

LLAVA = ('[{"id":1,"image":"a.png","conversations":[{"from":"human","value":"<image>\\nWhat?"},{"from":"gpt","value":"A cat."},'
         '{"from":"human","value":"And?"},{"from":"gpt","value":"A dog."}]}]')
DATASETS = [
    '{"image":"a.png","prompt":"What is this?","answers":["a cat","one cat"]}\n\n{"image":["a.png","b.png"],"prompt":"x"}\n{"prompt":"text"}',
    LLAVA, LLAVA[1:-1],
    '{"images":[{"id":3,"file_name":"a.png"},{"id":4,"file_name":"b/c.png"}],"annotations":[{"image_id":3,"caption":"a cat"},'
    '{"image_id":4,"caption":"two dogs"},{"image_id":3,"caption":"one cat"}]}',
    '\ufeff{"image":"../a.png","prompt":"\\u00e9\\ud83d\\ude00","answers":[""]}\r\n{"image":"http://a/b.png"}',
]

RECIPES = [
    read("demo/mixed.json"),
    '{"version":1,"rules":[{"match":"vision.*","scheme":"int8"},{"match":"text.layers.*.attn.?","scheme":{"method":"gptq","bits":4,'
    '"group":64,"symmetric":false,"activations":"float","target":"weights"}},{"match":"*","scheme":null}]}',
    '{"vision_encoder":"int8","projection":null,"llm_layers_0%_50%":"awq_4bit","llm_layers_4_end":"rtn_8bit","lm_head":null,"default":"int8"}',
]

GATES = ["kl.mean<=0.02", "ppl_ratio_ci95.hi <= 1.03", "bleu.4>=0.30", "cider > 1e-3", "fallbacks==0", "speed.ttft_ms.p99<500"]

JSONS = ['{"a":[1,-2.5e3,true,false,null,"\\u00e9\\ud83d\\ude00\\n"],"b":{"c":{}},"":[]}', '[9007199254740993, 1e308, 0.1, -0]',
         '\ufeff{"a":1,"a":2}', '"\\ud800"', "[" * 70 + "]" * 70]

INDICES = ['{"metadata":{"total_size":1},"weight_map":{"a":"../x.safetensors","b":"model.safetensors"}}']

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 12345\n"

for name in ("calib", "gguf", "journal", "packed", "picture", "ref", "safetensors"):
    write(name, [POINTER])
for name, rows in {"template": templates(), "config": CONFIGS, "processor": PROCESSORS, "tokenizer": TOKENIZERS, "sentencepiece": SENTENCEPIECES, "dataset": DATASETS,
                   "recipe": RECIPES, "gate": GATES, "json": JSONS, "index": INDICES}.items():
    write(name, rows)
