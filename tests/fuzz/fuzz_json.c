/* JSON: what is read is written back, and the writer's text reads as the same tree. */
#include "src/base/json.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cJSON *tree, *again;
    vlmp_error err = {0};
    if (!fuzz_was_read(vlmp_json_parse(&tree, (const char *)data, size, "input", &err), &err))
        return 0;
    vlmp_json_writer w = {.indent = (int)(size % 3)};
    vlmp_json_put_tree(&w, tree);
    if (w.out.failed) abort();
    if (vlmp_json_parse(&again, w.out.data, w.out.length, "output", &err) != VLMP_OK ||
        !cJSON_Compare(tree, again, true)) {
        fprintf(stderr, "%s: %s\n", w.out.data, err.message);
        abort();
    }
    cJSON_Delete(tree);
    cJSON_Delete(again);
    vlmp_buffer_free(&w.out);
    return 0;
}
