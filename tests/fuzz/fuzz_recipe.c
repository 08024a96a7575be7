/* Recipes: what is read is written in the form that packed files record, which reads back. */
#include "src/quant/scheme/recipe.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlmp_recipe recipe = {0}, again = {0};
    vlmp_error err = {0};
    cJSON *tree;
    if (!fuzz_was_read(vlmp_json_parse(&tree, (const char *)data, size, "recipe", &err), &err))
        return 0;
    int status = vlmp_recipe_parse(&recipe, tree, "recipe", &err);
    cJSON_Delete(tree);
    if (fuzz_was_read(status, &err)) {
        vlmp_json_writer w = {0};
        vlmp_recipe_write(&recipe, &w);
        if (w.out.failed ||
            vlmp_json_parse(&tree, w.out.data, w.out.length, "written", &err) != VLMP_OK ||
            vlmp_recipe_parse(&again, tree, "written", &err) != VLMP_OK ||
            again.count != recipe.count) {
            fprintf(stderr, "%s\n", err.message);
            abort();
        }
        cJSON_Delete(tree);
        vlmp_buffer_free(&w.out);
    }
    vlmp_recipe_free(&recipe);
    vlmp_recipe_free(&again);
    return 0;
}
