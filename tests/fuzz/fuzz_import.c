/* The weights of a folder that another tool has quantized, under each format's configuration. */
#include "formats/open.h"
#include "formats/packed.h"
#include "tests/fuzz/st_mutator.h"

static const char model[] =
    "{\"model_type\":\"llava\",\"image_token_index\":4,\"vision_feature_layer\":-2,"
    "\"text_config\":{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,"
    "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"vocab_size\":32},\"vision_config\":{"
    "\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4,\"image_size\":16,\"patch_size\":8},\"quantization_config\":{"
    "\"quant_method\":";

/* Of compressed-tensors: format, type, bits, the rest. */
static const char *const groups[][4] = {
    {"pack-quantized", "int", "4", "\"group_size\":32"},
    {"pack-quantized", "int", "4", "\"group_size\":16,\"symmetric\":false"},
    {"pack-quantized", "int", "8", "\"group_size\":32,\"symmetric\":false"},
    {"pack-quantized", "int", "4", "\"strategy\":\"channel\""},
    {"pack-quantized", "int", "8", "\"strategy\":\"channel\""},
    {"int-quantized", "int", "8", "\"strategy\":\"channel\""},
    {"int-quantized", "int", "8", "\"strategy\":\"tensor\""},
    {"int-quantized", "int", "8", "\"strategy\":\"channel\",\"symmetric\":false"},
    {"float-quantized", "float", "8", "\"strategy\":\"channel\""},
    {"float-quantized", "float", "8", "\"strategy\":\"block\",\"block_structure\":[128,128]"},
    {"mxfp4-pack-quantized", "float", "4", "\"group_size\":32"},
    {"nvfp4-pack-quantized", "float", "4", "\"group_size\":16"},
};

/* The last is given all groups. */
static const char *const methods[] = {
    "\"gptq\"",
    "\"gptq\",\"meta\":{\"quantizer\":\"gptqmodel:5\"}",
    "\"awq\"",
    "\"compressed-tensors\",\"format\":\"x\",\"config_groups\":{",
};

enum { METHODS = sizeof methods / sizeof *methods };

static void write_config(int method)
{
    vlmp_buffer text = {0};
    vlmp_buffer_printf(&text, "%s%s", model, methods[method]);
    for (size_t i = 0; method == METHODS - 1 && i < sizeof groups / sizeof *groups; i++)
        vlmp_buffer_printf(&text,
                           "%s\"g%zu\":{\"format\":\"%s\",\"weights\":{\"type\":\"%s\","
                           "\"num_bits\":%s,%s}}",
                           i > 0 ? "," : "", i, groups[i][0], groups[i][1], groups[i][2],
                           groups[i][3]);
    vlmp_buffer_text(&text, method == METHODS - 1 ? "}}}" : "}}");
    fuzz_file("folder/config.json", (const uint8_t *)text.data, text.length);
    vlmp_buffer_free(&text);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    return fuzz_mutate_header(data, size, capacity, seed, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fuzz_folder()) mkdir(temp_path("folder"), 0700);
    fuzz_file("folder/model.safetensors", data, size);
    for (int i = 0; i < METHODS; i++) {
        vlmp_source *source;
        vlmp_error err = {0};
        write_config(i);
        if (!fuzz_was_read(vlmp_model_source_open(&source, temp_path("folder"), &err), &err))
            continue;
        /* What was read is a sound packed file, but for weights that were kept. */
        fuzz_was_read(vlmp_packed_verify(source, NULL, NULL, &err), &err);
        source->close(source);
    }
    return 0;
}
