/* The weights of a folder that another tool has quantized, under each format's configuration. */
#include "formats/open.h"
#include "formats/packed.h"
#include "tests/fuzz/st_mutator.h"

#define MODEL                                                                                  \
    "{\"model_type\":\"llava\",\"image_token_index\":4,\"vision_feature_layer\":-2,"           \
    "\"text_config\":{\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":96,"   \
    "\"num_hidden_layers\":1,\"num_attention_heads\":4,\"vocab_size\":32},\"vision_config\":{" \
    "\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":2,"                     \
    "\"num_attention_heads\":4,\"image_size\":16,\"patch_size\":8},\"quantization_config\":{"  \
    "\"quant_method\":"
#define GROUP(name, format, type, bits, rest)                               \
    "\"" name "\":{\"format\":\"" format "\",\"weights\":{\"type\":\"" type \
    "\",\"num_bits\":" bits "," rest "}}"

static const char *const configurations[] =
    {
        MODEL "\"gptq\"}}", MODEL "\"gptq\",\"meta\":{\"quantizer\":\"gptqmodel:5\"}}}",
        MODEL "\"awq\"}}",
        MODEL "\"compressed-tensors\",\"format\":\"x\",\"config_groups\":{" GROUP(
            "a", "pack-quantized",
            "int", "4", "\"group_size\":32") "," GROUP("b", "pack-quantized", "int", "4",
                                                       "\"group_size\":16,\"symmetric\":"
                                                       "false") "," GROUP("c",
                                                                          "pack-"
                                                                          "quantized",
                                                                          "int", "8",
                                                                          "\"group_"
                                                                          "size\":32,"
                                                                          "\"symmetric\""
                                                                          ":false") "," GROUP("d",
                                                                                              "pack"
                                                                                              "-qua"
                                                                                              "ntiz"
                                                                                              "ed",
                                                                                              "int", "4", "\"strategy\":\"channel\"") "," GROUP("e", "pack-quantized", "int", "8", "\"strategy\":\"channel\"") "," GROUP("f", "pack-quantized", "int", "4", "\"strategy\":\"channel\",\"symmetric\":false") "," GROUP("g", "int-quantized", "int",
                                                                                                                                                                                                                                                                                                                      "8", "\"strategy\":\"channel\"") "," GROUP("h", "int-quantized", "int", "8", "\"strategy\":\"tensor\"") "," GROUP("i",
                                                                                                                                                                                                                                                                                                                                                                                                                                        "int-quantized", "int", "8",
                                                                                                                                                                                                                                                                                                                                                                                                                                        "\"strategy\":\"channel\",\"symmetric\":false") "," GROUP("j",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "float-quantized", "float", "8", "\"strategy\":\"channel\"") "," GROUP("k",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "float-quantized",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "float",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "8",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "\"strategy\":\"block\",\"block_structure\":[128,128]") "," GROUP("l",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "mxfp4-pack-quantized",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "float",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "4",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "\"group_size\":32") "," GROUP("m",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "nvfp4-pack-quantized", "float", "4", "\"group_size\":16") "}}}"};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t capacity, unsigned seed)
{
    return fuzz_mutate_header(data, size, capacity, seed, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fuzz_folder()) mkdir(temp_path("folder"), 0700);
    fuzz_file("folder/model.safetensors", data, size);
    for (size_t i = 0; i < sizeof configurations / sizeof *configurations; i++) {
        vlmp_source *source;
        vlmp_error err = {0};
        fuzz_file("folder/config.json", (const uint8_t *)configurations[i],
                  strlen(configurations[i]));
        if (!fuzz_was_read(vlmp_model_source_open(&source, temp_path("folder"), &err), &err))
            continue;
        /* What was read is a sound packed file, but for weights that were kept. */
        fuzz_was_read(vlmp_packed_verify(source, NULL, NULL, &err), &err);
        source->close(source);
    }
    return 0;
}
