"""Rows B: index, configuration, tokenizer, processor."""
import json
import os

from case import find, read, read_weights, row, write

ALL = ("quantize", "calibrate", "run", "eval")


def index(case, change):
    """A sharded model whose index went through change(document, header)."""
    case.model()
    header, _ = read_weights("model/model.safetensors")
    os.rename("model/model.safetensors", "model/model-00001-of-00001.safetensors")
    names = [name for name in header if name != "__metadata__"]
    document = {"metadata": {"total_size": sum(header[n]["data_offsets"][1] - header[n]["data_offsets"][0]
                                               for n in names)},
                "weight_map": {name: "model-00001-of-00001.safetensors" for name in names}}
    change(document, header)
    write("model/model.safetensors.index.json", json.dumps(document).encode())


@row("B1", "shard name ../x, /etc/x, a/b, empty, ., with NUL or backslash", "refused, not a plain file name")
def _(case):
    for shard in ("../x.safetensors", "/etc/passwd", "a/b.safetensors", "", ".", "..", "a\0b", "a\\b", 7):
        index(case, lambda d, h, s=shard: d["weight_map"].update({find(h, "lm_head.weight"): s}))
        case.refuses_model("index.json")


@row("B2", "a link out of the model folder", "refused; into a hub cache's blobs allowed")
def _(case):
    case.model("elsewhere")
    case.model()
    os.remove("model/model.safetensors")
    os.symlink(os.path.abspath("elsewhere/model.safetensors"), "model/model.safetensors")
    case.refuses_model("model.safetensors")
    os.makedirs("models--org--name/blobs")
    os.makedirs("models--org--name/snapshots/main")
    for number, name in enumerate(os.listdir("elsewhere")):
        os.rename("elsewhere/" + name, "models--org--name/blobs/%d" % number)
        os.symlink("../../blobs/%d" % number, "models--org--name/snapshots/main/" + name)
    case.accepts_model("models--org--name/snapshots/main")


@row("B3", "shard missing, not listed, tensor in the wrong shard, wrong total size", "refused; warned")
def _(case):
    def missing(document, header):
        document["weight_map"][find(header, "lm_head.weight")] = "model-00002-of-00002.safetensors"
    index(case, missing)
    case.refuses_model("model-00002-of-00002")
    index(case, lambda d, h: d["weight_map"].update({"spare": "model-00001-of-00001.safetensors"}))
    case.refuses_model("spare")
    index(case, lambda d, h: d["metadata"].update(total_size=1))
    case.accepts_model()


@row("B4", "only pytorch_model.bin or another pickle", "refused with what to do; never read")
def _(case):
    for name in ("pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "consolidated.00.pth"):
        case.model()
        os.rename("model/model.safetensors", "model/" + name)
        case.refuses_model("safetensors")


@row("B5", "config.json missing; unknown architecture or type", "refused with what is supported")
def _(case):
    case.model()
    os.remove("model/config.json")
    case.refuses_model("config.json", tools=ALL)
    case.config(lambda d: d.update(model_type="gpt9", architectures=["Gpt9"]))
    case.refuses_model("config.json: .*gpt9.*llava")
    case.config(lambda d: d["text_config"].update(model_type="mamba"))
    case.refuses_model("config.json: .*mamba")


@row("B6", "layers 0, -1, 10^9; heads 0 or not dividing; huge sizes", "refused, key named")
def _(case):
    for key, value in (("num_hidden_layers", 0), ("num_hidden_layers", -1), ("num_hidden_layers", 10**9),
                       ("num_attention_heads", 0), ("num_attention_heads", 10**6), ("num_key_value_heads", 3),
                       ("hidden_size", 0), ("hidden_size", 1 << 40), ("hidden_size", "32"), ("hidden_size", 32.5),
                       ("head_dim", 0), ("head_dim", 7), ("intermediate_size", -5), ("vocab_size", 0),
                       ("rms_norm_eps", -1e-5), ("rms_norm_eps", 0), ("rms_norm_eps", 1e5),
                       ("max_position_embeddings", 0)):
        case.config(lambda d, k=key, v=value: d["text_config"].update({k: v}))
        case.refuses_model("config.json: .*|model.safetensors: .*")
    for key, value in (("num_attention_heads", 5), ("patch_size", 0), ("image_size", 0), ("image_size", 10**7),
                       ("num_hidden_layers", 0), ("layer_norm_eps", -1)):
        case.config(lambda d, k=key, v=value: d["vision_config"].update({k: v}))
        case.refuses_model("config.json: ")
    for layer in ([], [99], 99, -99, "x", [[]], {}, 1.5, None):
        case.config(lambda d, v=layer: d.update(vision_feature_layer=v))
        case.refuses_model("config.json: .*vision_feature_layer")


@row("B7", "configuration disagrees with tensors", "refused, both shown")
def _(case):
    for key, value in (("vocab_size", 400), ("hidden_size", 40), ("intermediate_size", 36),
                       ("num_hidden_layers", 3), ("num_key_value_heads", 4), ("attention_bias", False)):
        case.config(lambda d, k=key, v=value: d["text_config"].update({k: v}))
        case.refuses_model("model", tools=("quantize", "run"))


@row("B8", "auto_map, remote code", "ignored when the architecture is known")
def _(case):
    case.config(lambda d: d.update(auto_map={"AutoModel": "modeling_x.Model"}))
    write("model/modeling_x.py", b"raise SystemExit\n")
    case.accepts_model()


@row("B9", "model is quantized already", "refused")
def _(case):
    case.config(lambda d: d.update(quantization_config={"quant_method": "gptq", "bits": 4}))
    case.refuses_model("config.json: .*quantiz", tools=ALL)
    case.model()
    case.accepted("quantize", "model", "--method", "rtn", "-o", "packed.vlmp")
    case.refused("packed.vlmp: .*packed", "quantize", "packed.vlmp", "--method", "rtn", "-o", "out.vlmp")


@row("B10", "tied embeddings: once, twice, contradicting", "as the configuration says, else refused")
def _(case):
    case.config(lambda d: (d.update(tie_word_embeddings=True), d["text_config"].update(tie_word_embeddings=True)))
    case.refuses_model("(tie|lm_head)")

    def untied_without(header, data):
        header["spare"] = header.pop(find(header, "lm_head.weight"))
    case.weights(untied_without)
    case.refuses_model("(tie|lm_head|head)")


@row("B11", "tokenizer ids negative, duplicate, sparse; merges of unknown tokens; empty added token",
     "refused; the last never matches")
def _(case):
    def vocabulary(change):
        case.json("tokenizer.json", lambda d: change(d["model"]))
        case.refuses_model("tokenizer.json: ", tools=("run",))
    def first(model):
        return next(iter(model["vocab"]))
    vocabulary(lambda m: m["vocab"].update({first(m): -1}))
    vocabulary(lambda m: m["vocab"].update({"another": 1 << 31}))
    vocabulary(lambda m: m["vocab"].update({first(m): 1.5}))
    vocabulary(lambda m: m["merges"].append(["no such", "token"]))
    vocabulary(lambda m: m.pop("vocab"))
    vocabulary(lambda m: m.update(type="Unheard"))
    case.json("tokenizer.json", lambda d: d["added_tokens"].append(
        {"id": 5, "content": "", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}))
    case.accepted("run", "model", "--prompt", "x", "--max-new-tokens", "1")  # as the reference: it matches nothing


@row("B12", "tokenizer pattern that does not compile or backtracks for ever", "refused at load")
def _(case):
    for pattern in ("(((", "(a+)+$", "(?<=a*)b", "\\p{Nope}"):
        case.json("tokenizer.json", lambda d, p=pattern: d.update(
            pre_tokenizer={"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False}))
        case.refuses_model("tokenizer.json: ", tools=("run",))


@row("B13", "chat template that is not supported, fails, or loops for ever", "refused with line")
def _(case):
    for template in ("{% for i in range(100000000) %}x{% endfor %}", "{{ raise_exception('no') }}",
                     "{% import 'x' as y %}", "{% for m in messages %}", "{{ messages | nosuchfilter }}",
                     "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ ''.__class__ }}", "{{ " + "(" * 50000,
                     "{{ 'x' * 10**9 }}", "{{ range(10**12) | list }}"):
        case.text("chat_template.jinja", template)
        case.refuses_model("template", tools=("run",))


@row("B14", "processor: mean or deviation missing or zero, patch 0, pinpoints malformed", "refused, key named")
def _(case):
    for key, value in (("image_std", [0, 0, 0]), ("image_std", [1]), ("image_mean", "x"), ("image_mean", [1, 2]),
                       ("size", {"shortest_edge": 0}), ("size", {"shortest_edge": 10**9}), ("size", {}),
                       ("crop_size", {"height": 0, "width": 0}), ("resample", 99), ("rescale_factor", "x")):
        case.json("processor_config.json", lambda d, k=key, v=value: d["image_processor"].update({k: v}))
        case.refused("config", "run", "model", "--image", os.path.abspath(case.data() and "good.png"),
                     "--prompt", "x", "--max-new-tokens", "1")


@row("B15", "picture token outside the vocabulary", "refused with hint")
def _(case):
    for value in (424, 10**6, -7, "3", None):
        case.config(lambda d, v=value: d.update(image_token_index=v, image_token_id=v))
        case.data()
        case.refused("image_token", "run", "model", "--image", "good.png", "--prompt", "x")


@row("B16", "JSON with byte order mark, CRLF; comments, trailing commas, twice the same key, 1e400",
     "the first two read; the rest refused with line")
def _(case):
    case.model()
    good = read("model/config.json").decode()
    for text in (good.replace("\n", "\r\n"), "\ufeff" + good):
        case.text("config.json", text)
        case.accepts_model()
    for text in (good.replace("{", "{ // x\n", 1), good.rstrip()[:-1] + ", }", good.replace("{", '{"model_type": "llava", ', 1),
                 good.replace("1e-05", "1e400"), good.replace('"llava"', '"\\ud800"'), good + "x", good.replace("}", "", 1),
                 good.replace("1e-05", "NaN"), good.replace('"llava"', "'llava'"), ""):
        case.text("config.json", text)
        case.refuses_model("config.json: ")
